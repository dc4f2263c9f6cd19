import random
from dataclasses import replace

import pytest

from trainer.plan import communication as comm
from trainer.plan.communication import Constants, Group
from trainer.plan.hardware import find_cluster, find_gpu
from trainer.plan.layout import Layout
from trainer.plan.throughput import Job

CLUSTER = find_cluster("a100-80g")


def seconds(layout: Layout, computing=4.0, cluster=CLUSTER, constants=None, parameters=7e9):
    return Job(parameters, 32, layout, cluster, constants or Constants()).step(computing).total


def random_layout(rng: random.Random, gpus: int | None = None) -> Layout:
    gpus = gpus or 8 * 2 ** rng.randint(0, 7)
    tensor = rng.choice([1, 2, 4])
    zero = rng.randint(0, 3)
    ranks = gpus // tensor
    group = 8 // tensor if zero == 1 and rng.random() < 0.5 else ranks
    return Layout(gpus, zero, group if zero else 1, 2, rng.choice([1, 4]), tensor=tensor)


def wider(layout: Layout, factor: int) -> Layout:
    """The same layout on more GPUs."""
    over_all = layout.shard_group == layout.data_ranks
    group = layout.shard_group * factor if over_all and layout.zero else layout.shard_group
    return replace(layout, gpus=layout.gpus * factor, shard_group=group)


def test_one_rank_says_nothing():
    alone = Group(1)
    assert comm.ring_pass(1e9, alone, CLUSTER, Constants()) == 0
    assert comm.all_reduce(1e9, alone, CLUSTER, Constants(), 1e6) == 0
    assert comm.all_to_all(1e9, alone, CLUSTER, Constants()) == 0


def test_ring_pass_in_a_node_by_hand():
    # 8 GB over 8 A100s: 7 GB leave each GPU at 0.75 x 300 GB/s; 8 hops of 3 us.
    assert comm.ring_pass(8e9, Group(8), CLUSTER, Constants()) == pytest.approx(7 / 225 + 24e-6)


def test_ring_pass_across_nodes_by_hand():
    constants = Constants(hop=1e-5, network_share=0.8)
    # Half of 8 GB enters each of two nodes at 0.8 x 50 GB/s; 10 messages, 16 hops of 10 us.
    expected = 4 / 40 + 10 * 16 * 1e-5
    assert comm.ring_pass(8e9, Group(16), CLUSTER, constants, 10) == pytest.approx(expected)


def test_groups_side_by_side_share_the_ports():
    constants = Constants(hop=0.0)
    together = comm.ring_pass(8e9, Group(16), CLUSTER, constants)
    # Two groups of half the ranks move half the bytes each, at the same time.
    apart = comm.ring_pass(4e9, Group(8, stride=2), CLUSTER, constants)
    assert apart == pytest.approx(together)


def test_small_messages_take_trees_on_many_nodes():
    large = comm.all_reduce(1e9, Group(1024), CLUSTER, Constants(), 2.0**30)
    rings = 2 * comm.ring_pass(1e9, Group(1024), CLUSTER, Constants(), 1e9 / comm.DDP_BUCKET)
    small = comm.all_reduce(1e9, Group(1024), CLUSTER, Constants(), comm.DDP_BUCKET)
    assert small < rings
    assert large == 2 * comm.ring_pass(1e9, Group(1024), CLUSTER, Constants(), 1.0)


def test_overlap_lies_between_the_longer_and_the_sum():
    rng = random.Random(1)
    for _ in range(100):
        a, b = rng.uniform(0.01, 5), rng.uniform(0.01, 5)
        both = comm.overlapped(a, b, Constants())
        assert max(a, b) <= both <= a + b
        assert comm.overlapped(a, b, Constants(overlap=1.0)) == pytest.approx(a + b)


@pytest.mark.parametrize("seed", range(60))
def test_worse_networks_and_more_gpus_are_never_faster(seed):
    rng = random.Random(seed)
    layout = random_layout(rng)
    base = seconds(layout)
    assert seconds(layout, constants=Constants(hop=2e-5)) >= base
    assert seconds(layout, constants=Constants(network_share=0.4)) >= base
    faster = replace(CLUSTER, node_bandwidth=4 * CLUSTER.node_bandwidth)
    assert seconds(layout, cluster=faster) <= base
    assert seconds(layout, parameters=14e9) > base
    assert seconds(layout, computing=8.0) > base
    # Per GPU the same work; the optimiser's own share may shrink, by far less than a per cent.
    assert seconds(wider(layout, 2)) >= 0.995 * base


def test_sharding_inside_the_node_scales_better():
    node = Layout(1024, 1, 8, 2, 4, fp32_sums=False)
    everywhere = Layout(1024, 1, 1024, 2, 4, fp32_sums=False)
    assert seconds(node) < 0.85 * seconds(everywhere)


def test_the_loop_pays_for_what_it_does_not_hide():
    """Reduced after the backward pass, and in groups in fp32."""
    for group in (8, 1024):
        ours = Layout(1024, 1, group, 2, 4)
        assert seconds(ours) > seconds(replace(ours, fp32_sums=False))
    over_all, groups = Layout(1024, 1, 1024, 2, 4), Layout(1024, 1, 8, 2, 4)
    assert groups.overlapped
    assert not over_all.overlapped
    assert seconds(groups) < 0.9 * seconds(over_all)
    assert Layout(16, 0, 1, 1, 1).gradient_bytes == Layout(16, 1, 8, 1, 1).gradient_bytes == 4
    assert Layout(16, 1, 16, 1, 1).gradient_bytes == Layout(16, 3, 16, 1, 1).gradient_bytes == 2


def test_accumulation_hides_less_of_sharded_parameters():
    once = Layout(256, 3, 256, 8, 1)
    often = Layout(256, 3, 256, 1, 8)
    assert seconds(often) > seconds(once)


def test_gpus_are_found_in_any_spelling():
    for name in ("A100-SXM4-80GB", "a100_80gb", "nvidia_a100-sxm4-80gb", "a100"):
        assert find_gpu(name) is find_gpu("a100-80g")
    assert find_gpu("H100-80GB-HBM3") is find_gpu("h100")
    for name, known in (
        ("NVIDIA H100 PCIe", "h100-pcie-80g"), ("A100 80GB PCIe", "a100-pcie-80g"),
        ("Tesla V100-SXM3-32GB", "v100-32g"), ("NVIDIA GeForce RTX 4090", "rtx4090-24g"),
        ("NVIDIA H200", "h200-141g"), ("AMD Instinct MI250X", "mi250x-64g"),
    ):  # fmt: skip
        assert find_gpu(name) is find_gpu(known) is not None
    assert find_gpu("abacus") is find_gpu("") is None
