"""Gradients handed over while the backward pass goes on: what, in which order, and no traces."""

import random
import threading
from functools import partial

import pytest
import torch
from torch import nn

from trainer.parallel.beside import SideThread
from trainer.parallel.buckets import GRAIN, Bucket, FlatWeights
from trainer.parallel.reduction import Reduction


class Net(nn.Module):
    """Layers of random widths, a tied one, a frozen one, and one that is not used."""

    def __init__(self) -> None:
        super().__init__()
        widths = [random.randint(1, 60) for _ in range(random.randint(2, 6))]
        self.unused = nn.Linear(3, random.randint(1, 300))
        self.norm = nn.LayerNorm(widths[0])
        self.width = widths[0]
        self.layers = nn.ModuleList(map(nn.Linear, widths, [*widths[1:], widths[0]]))
        self.frozen = nn.Linear(widths[0], widths[0]).requires_grad_(False)
        self.tied = nn.Linear(widths[0], widths[0])
        self.tied.weight = nn.Parameter(torch.randn(widths[0], widths[0]) / widths[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.tied(self.norm(x))
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return torch.nn.functional.linear(self.frozen(x), self.tied.weight).square().sum()

    def batch(self) -> torch.Tensor:
        return torch.randn(random.randint(1, 5), self.width)


def random_flat(net: Net) -> FlatWeights:
    return FlatWeights(net, random.randint(1, 4), 4 * random.choice([1, 64, 512, 4096, 1 << 20]))


def used(net: Net) -> dict[str, nn.Parameter]:
    return {n: p for n, p in net.named_parameters() if p.requires_grad and "unused" not in n}


def test_pieces_and_fragments_hold_every_element_once() -> None:
    for _ in range(20):
        net = Net()
        before = {n: p.detach().clone() for n, p in net.named_parameters()}
        shards = random.randint(1, 4)
        flat = FlatWeights(net, shards, 4 * random.choice([1, 64, 512, 4096, 1 << 20]))
        state = torch.randn(len(flat.values))
        found = {name: torch.zeros(p.numel()) for name, p in net.named_parameters()}
        seen = {name: torch.zeros(p.numel()) for name, p in net.named_parameters()}
        for bucket in flat.buckets:
            assert (bucket.stop - bucket.start) % (shards * GRAIN) == 0
            for place in range(shards):
                piece = flat.piece(bucket, place)
                for run in flat.fragments("master", bucket, place, state[piece]):
                    found[run.parameter][run.start : run.stop] = run.values
                    seen[run.parameter][run.start : run.stop] += 1
                    assert (net.get_parameter(run.parameter).ndim > 1) is bucket.decayed
        for name, parameter in net.named_parameters():
            assert torch.equal(parameter, before[name])
            assert (seen[name] == (1 if parameter.requires_grad else 0)).all(), name
        flat.values.copy_(state)
        for name, parameter in net.named_parameters():
            if parameter.requires_grad:
                assert torch.equal(parameter.detach().view(-1), found[name]), name


@pytest.mark.parametrize("passes", [1, 3])
def test_every_bucket_is_whole_when_it_is_handed_over_and_in_order(passes: int) -> None:
    for _ in range(20):
        net = Net()
        batches = [net.batch() for _ in range(passes)]
        wanted = {name: torch.zeros_like(p) for name, p in used(net).items()}
        for batch in batches:
            gradients = torch.autograd.grad(net(batch), list(used(net).values()))
            for name, gradient in zip(wanted, gradients, strict=True):
                wanted[name] += gradient
        flat = random_flat(net)
        handed: list[tuple[Bucket, torch.Tensor]] = []

        def reduce(bucket: Bucket, flat: FlatWeights = flat, handed: list = handed) -> None:
            handed.append((bucket, flat.gradient[bucket.start : bucket.stop].clone()))

        reduction = Reduction(flat, reduce)
        for number, batch in enumerate(batches, 1):
            assert not handed
            reduction.backward(net(batch), last=number == passes)
        reduction.finish()
        assert [bucket for bucket, _ in handed] == flat.buckets
        flat.gradient.zero_()
        flat.values.copy_(torch.cat([gradient for _, gradient in handed]))
        for name, parameter in net.named_parameters():
            if parameter.requires_grad:
                assert torch.equal(parameter, wanted.get(name, torch.zeros_like(parameter))), name


def test_a_bucket_is_reduced_before_the_backward_pass_ends() -> None:
    """The first layer's backward pass waits for the last layer's gradient to be reduced."""
    net = nn.Sequential(nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False))
    reduced = threading.Event()
    reduction = Reduction(FlatWeights(net, 1, 4 * 16 * 16), lambda bucket: reduced.set())
    inside = net[0](torch.randn(2, 16))
    waited: list[bool] = []

    def wait(gradient: torch.Tensor) -> None:
        waited.append(reduced.wait(300))

    inside.register_hook(wait)
    reduction.backward(net[1](inside).sum(), last=True)
    reduction.finish()
    assert waited == [True]


def test_nothing_stays_behind() -> None:
    net = Net()
    before = set(threading.enumerate())
    reduction = Reduction(random_flat(net), lambda bucket: None)
    for _ in range(3):
        reduction.backward(net(net.batch()), last=False)
        reduction.backward(net(net.batch()), last=True)
        reduction.finish()
        assert set(threading.enumerate()) <= before
        for parameter in net.parameters():
            assert not parameter._post_accumulate_grad_hooks
            assert parameter.grad is None


def test_a_pass_after_the_last_is_refused() -> None:
    net = Net()
    reduction = Reduction(random_flat(net), lambda bucket: None)
    reduction.backward(net(net.batch()), last=True)
    with pytest.raises(RuntimeError, match="step or discard"):
        reduction.backward(net(net.batch()), last=False)
    reduction.finish()
    reduction.backward(net(net.batch()), last=True)
    reduction.finish()


def test_a_step_without_a_last_pass_is_reduced_in_the_end() -> None:
    net = Net()
    flat = random_flat(net)
    handed: list[Bucket] = []
    reduction = Reduction(flat, handed.append)
    reduction.backward(net(net.batch()), last=False)
    reduction.finish()
    assert handed == flat.buckets


def test_a_collective_that_fails_is_told_once_and_stops_the_rest() -> None:
    net = Net()
    flat = FlatWeights(net, 1, 256)
    tried: list[Bucket] = []
    fail = [True]

    def reduce(bucket: Bucket) -> None:
        tried.append(bucket)
        if fail[0]:
            raise RuntimeError("a peer is gone")

    reduction = Reduction(flat, reduce)
    reduction.backward(net(net.batch()), last=True)
    with pytest.raises(RuntimeError, match="a peer is gone"):
        reduction.finish()
    assert len(tried) == 1
    fail[0] = False
    reduction.backward(net(net.batch()), last=True)
    reduction.finish()
    assert tried[1:] == flat.buckets


def test_jobs_beside_keep_their_order() -> None:
    thread = SideThread()
    done: list[int] = []
    for _ in range(3):
        wanted = list(range(random.randint(0, 50)))
        for number in wanted:
            thread.submit(partial(done.append, number))
        thread.wait()
        assert done == wanted
        done.clear()
