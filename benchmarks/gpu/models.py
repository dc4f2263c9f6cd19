"""Random Llama models made where they run, and the engine over them; no file is read."""

from typing import Any

import torch
from torch import nn

from serving.engine.engine import PagedEngine
from serving.engine.guide import Guides
from serving.engine.plan import Limits
from serving.engine.runner import ModelRunner, RunnerConfig
from serving.quant.linear import Int4Linear
from serving.quant.rounding import quantize

BLOCK = 32
SHAPES = {
    "7b": dict(
        vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=32,
    ),
    "8b": dict(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=8,
    ),
    "small": dict(
        vocab_size=512, hidden_size=64, intermediate_size=192, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2,
    ),
}  # fmt: skip


def random_model(shape: str, device: torch.device, context: int) -> Any:
    """A Llama in bf16 with random weights, for sequences of up to ``context`` tokens."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(0)
    config = LlamaConfig(
        **SHAPES[shape],
        max_position_embeddings=context,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()


@torch.inference_mode()
def pack(model: Any, group_size: int) -> None:
    """Round the weights of all layers to 4 bits; embedding and output projection stay in bf16."""
    for layer in model.model.layers:
        for parent in (layer.self_attn, layer.mlp):
            for name, linear in list(parent.named_children()):
                if isinstance(linear, nn.Linear):
                    setattr(parent, name, packed_linear(linear.weight, group_size))


def packed_linear(weight: torch.Tensor, group_size: int) -> Int4Linear:
    """A layer over a weight's 4-bit codes, without bias."""
    outs, ins = weight.shape
    layer = Int4Linear(ins, outs, group_size, bias=False)
    for name, tensor in vars(quantize(weight, group_size)).items():
        layer.register_buffer(name, tensor)
    layer.prepare()
    return layer


def open_engine(
    model: Any, slots: int, context: int, *, int8_cache: bool = False, graphs: bool = True
) -> PagedEngine:
    """The engine over a model, with room for every slot; steps are not padded."""
    config = RunnerConfig(
        max_context=context,
        num_blocks=slots * -(-context // BLOCK) + 1,
        block_size=BLOCK,
        int8_cache=int8_cache,
        slots=slots,
        cuda_graphs=graphs,
    )
    runner = ModelRunner(model, config)
    runner.capture()
    limits = Limits(slots, 2048, fixed_chunks=False)
    return PagedEngine(
        runner, limits, model_digest="random", guides=Guides(_none, runner.vocab_size)
    )


def _none() -> Any:
    raise RuntimeError("a random model has no tokenizer")
