"""The ledger against tensors counted in real, small models on the CPU."""

import random

import pytest

from trainer.plan.layout import Layout
from trainer.plan.memory import kept_bytes, ledger
from trainer.plan.model import Shape, find_shape


def random_shape(rng: random.Random) -> Shape:
    heads = rng.choice([2, 4, 8])
    return Shape(
        name="small",
        vocab=rng.choice([500, 1000, 4000]),
        hidden=heads * 64,
        layers=rng.randint(2, 4),
        heads=heads,
        kv_heads=rng.choice([head for head in (1, 2, 4, 8) if heads % head == 0]),
        mlp=rng.choice([512, 768, 1408]),
        tied=rng.random() < 0.5,
    )


def real_model(shape: Shape):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        intermediate_size=shape.mlp,
        tie_word_embeddings=shape.tied,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config).to(torch.bfloat16)


def held_bytes(tensors) -> int:
    """Bytes of the distinct storages behind tensors."""
    return sum(
        {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values()
    )


@pytest.mark.parametrize("seed", range(4))
def test_states_are_those_of_a_trained_model(seed):
    import torch

    shape = random_shape(random.Random(seed))
    model = real_model(shape)
    weights = list(model.parameters())
    master = [weight.detach().float().clone().requires_grad_() for weight in weights]
    optimiser = torch.optim.AdamW(master, foreach=False)
    hidden = model.model(input_ids=torch.randint(0, shape.vocab, (1, 8))).last_hidden_state
    model.lm_head(hidden).float().sum().backward()
    for weight, copy in zip(weights, master, strict=True):
        copy.grad = weight.grad.float()
    optimiser.step()
    moments = [value for state in optimiser.state.values() for value in state.values()]
    parameters = held_bytes(weights)
    gradients = held_bytes([weight.grad for weight in weights])
    states = held_bytes([*master, *(value for value in moments if value.numel() > 1)])

    for zero, ranks in ((0, 1), (1, 4), (2, 4), (3, 4)):
        # two passes: gradients stand from one to the next
        ours = ledger(shape, Layout(ranks, zero, ranks if zero else 1, 1, 2), 8)
        assert ours.parameters == pytest.approx(parameters / (ranks if zero == 3 else 1), rel=0.1)
        assert ours.gradients == pytest.approx(gradients / (ranks if zero >= 2 else 1), rel=0.1)
        assert ours.optimiser == pytest.approx(states / (ranks if zero else 1), rel=0.1)


@pytest.mark.parametrize("seed", range(12))
def test_activations_are_what_autograd_keeps(seed):
    import torch

    rng = random.Random(seed)
    shape = random_shape(rng)
    sequences, length = rng.randint(1, 3), rng.choice([96, 128, 256])
    model = real_model(shape)
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept = []

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.model(input_ids=torch.randint(0, shape.vocab, (sequences, length)))
    ours = kept_bytes(shape, Layout(1, 0, 1, sequences, 1), length)
    assert ours == pytest.approx(held_bytes(kept), rel=0.1)


def test_full_recompute_keeps_a_layers_input_only():
    shape = find_shape("7b")
    kept = {
        kind: kept_bytes(shape, Layout(8, 3, 8, 1, 1, recompute=kind), 4096)
        for kind in ("none", "selective", "full")
    }
    assert kept["full"] < 0.1 * kept["none"]
    assert 0.3 * kept["none"] < kept["selective"] < 0.6 * kept["none"]


def test_zero_divides_what_its_stage_says():
    shape = find_shape("7b")
    whole = ledger(shape, Layout(64, 0, 1, 1, 1), 2048)
    assert whole.states == 16 * shape.parameters
    node = ledger(shape, Layout(64, 1, 8, 1, 1), 2048)
    assert node.states == pytest.approx((4 + 12 / 8) * shape.parameters)
    everything = ledger(shape, Layout(64, 3, 64, 1, 1), 2048)
    assert everything.states == pytest.approx(16 / 64 * shape.parameters)


def test_offload_moves_the_optimiser_to_the_host():
    shape = find_shape("1.8b")
    here = ledger(shape, Layout(8, 2, 8, 1, 1), 2048)
    away = ledger(shape, Layout(8, 2, 8, 1, 1, offload=True), 2048)
    assert (away.optimiser, away.host) == (0, here.optimiser)
    assert away.total <= here.total - here.optimiser + 1


def test_splitting_never_needs_more():
    shape = find_shape("7b")
    one = ledger(shape, Layout(8, 1, 8, 1, 1), 8192)
    tensor = ledger(shape, Layout(8, 1, 4, 1, 1, tensor=2), 8192)
    sequence = ledger(shape, Layout(8, 1, 8, 1, 1, sequence=2), 8192)
    assert tensor.parameters == one.parameters / 2
    assert tensor.activations < one.activations
    assert sequence.activations == pytest.approx(one.activations / 2)


def test_gradients_of_one_pass_come_when_activations_go():
    """One process keeps no sums between passes: the larger of the two counts, never both."""
    shape = find_shape("1.8b")
    small, large = (ledger(shape, Layout(1, 0, 1, rows, 1), 2048) for rows in (1, 32))
    twice = ledger(shape, Layout(1, 0, 1, 32, 2), 2048)
    assert large.gradients == 0
    assert large.logits > 0
    assert (small.activations, small.gradients) == (0, 2 * shape.parameters)
    sums = 4 * shape.parameters
    assert twice.total == pytest.approx(large.total + sums, rel=0.01)


def test_a_cpu_loses_nothing_between_blocks():
    shape = find_shape("1.8b")
    layout = Layout(1, 0, 1, 8, 1)
    assert ledger(shape, layout, 2048, on_cpu=True).fragmentation == 0
    assert ledger(shape, layout, 2048).fragmentation > 0
