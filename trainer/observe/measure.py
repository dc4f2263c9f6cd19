"""Sets up the measuring of a run: its model's shape, its device, the plan's prediction."""

from typing import Any

from clusters.config import ConfigError
from trainer.config import TrainConfig
from trainer.data.rows import micro_steps
from trainer.observe.memory import PeakMemory
from trainer.observe.peak import peak_flops
from trainer.observe.speed import Expected, Speed
from trainer.plan.hardware import GIB, Cluster, Gpu, find_cluster, find_gpu
from trainer.plan.layout import Layout
from trainer.plan.model import shape_of_config
from trainer.plan.search import Question, timed

_CPU_BANDWIDTH = 20e9
"""Bytes/s of main memory, and between processes of one machine: the plan's preset ``cpu``."""
_CPU_EFFICIENCY = 0.5


def speed_of(
    config: TrainConfig, model: Any, memory: PeakMemory, world_size: int, row_length: int
) -> Speed | None:
    """What measures a run; None for models that the plan cannot count (mixtures of experts)."""
    try:
        shape = shape_of_config(model.config.to_dict(), type(model).__name__)
    except ConfigError:
        return None
    weights = next(model.parameters())
    peak, source = peak_flops(weights.device, weights.dtype)
    cluster = _cluster(weights.device, peak, world_size)
    question = Question(shape, cluster, row_length, config.batch)
    return Speed(
        shape=shape,
        devices=world_size,
        peak_flops=peak,
        peak_source=source,
        recompute=config.parallel.recompute,
        memory=memory,
        expected=_expected(question, layout_of(config, world_size)),
    )


def layout_of(config: TrainConfig, world_size: int) -> Layout:
    """The plan's word for how ``config`` lays a step over ``world_size`` ranks."""
    parallel = config.parallel
    replicas = world_size // parallel.sequence_parallel
    rows = config.rows_per_pass(replicas)
    zero = parallel.zero_stage if world_size > 1 else 0
    return Layout(
        gpus=world_size,
        zero=zero,
        shard_group=(parallel.shard_group or world_size) if zero else 1,
        micro_sequences=rows,
        accumulation=micro_steps(config.batch, replicas, rows),
        sequence=parallel.sequence_parallel,
        recompute=parallel.recompute,
        offload=parallel.offload,
    )


def _expected(question: Question, layout: Layout) -> Expected:
    choice = timed(question, layout)
    return Expected(choice.tokens, choice.ledger.total)


def _cluster(device: Any, peak: float, world_size: int) -> Cluster:
    """The devices of one machine as the plan sees a cluster."""
    if device.type == "cuda":
        import torch

        name = torch.cuda.get_device_name(device)
        if find_gpu(name) is not None:
            return find_cluster(name)
    gpu = Gpu("cpu", 16 * GIB, peak, _CPU_BANDWIDTH, _CPU_BANDWIDTH, _CPU_EFFICIENCY, "measured")
    return Cluster(gpu, world_size, _CPU_BANDWIDTH, host_memory=0.0)
