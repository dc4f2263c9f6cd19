"""Which stepper a config asks for, on the ranks that are there."""

from typing import Any

from trainer.config import TrainConfig
from trainer.data.rows import micro_steps
from trainer.models.compiled import decide
from trainer.parallel.stepper import Stepper


def make_stepper(config: TrainConfig, model: Any) -> Stepper:
    """The stepper for this process.

    One process without torch.distributed trains plainly; else ZeRO 0 and sharding inside
    groups are ours, ZeRO 1 to 3 DeepSpeed's.
    """
    import torch.distributed as dist

    from trainer.models.llama import NextTokenLoss

    parallel = config.parallel
    compiled, _ = compile_decision(config, model)
    if not dist.is_initialized():
        from trainer.parallel.plain import PlainStepper

        module = NextTokenLoss(model, recompute=parallel.recompute, compiled=compiled)
        return PlainStepper(module, config.optimiser, config.precision, parallel.offload)
    from trainer.attention.ulysses import SequenceGroup

    sequence = SequenceGroup.make(parallel.sequence_parallel)
    module = NextTokenLoss(model, sequence, parallel.recompute, compiled)
    stepper = _sharded(config, module, dist.get_world_size())
    stepper.data_rank = stepper.rank // parallel.sequence_parallel
    stepper.data_ranks = stepper.world_size // parallel.sequence_parallel
    return stepper


def compile_decision(config: TrainConfig, model: Any) -> tuple[bool, str]:
    """Whether the model is compiled in this process, and what a user should be told."""
    import torch.distributed as dist

    gathered = dist.is_initialized() and config.parallel.zero_stage == 3
    return decide(config.compile, model.device.type, gathered)


def _sharded(config: TrainConfig, module: Any, ranks: int) -> Stepper:
    parallel = config.parallel
    if parallel.zero_stage == 0 or parallel.shard_group is not None:
        from trainer.parallel.hierarchical import HierarchicalStepper

        return HierarchicalStepper(
            module,
            config.optimiser,
            shard_group=parallel.shard_group or 1,
            bucket_bytes=parallel.bucket_bytes,
            precision=config.precision,
        )
    from trainer.parallel.zero import ZeroStepper

    rows = config.rows_per_pass(ranks // parallel.sequence_parallel)
    return ZeroStepper(
        module,
        config.optimiser,
        zero_stage=parallel.zero_stage,
        rows_per_pass=rows,
        micro_steps=micro_steps(config.batch, ranks // parallel.sequence_parallel, rows),
        precision=config.precision,
        offload=parallel.offload,
    )
