"""Stages of the trainer room."""

from typing import Any

from clusters.stage import Input, Requirements, Stage
from trainer import pretrain, sft
from trainer.config import PretrainConfig, SftConfig, TrainConfig

_WORKER_BYTES = 700 << 20
"""Of a worker before it holds a model: torch, DeepSpeed and Ray, as measured."""


def _requires(config: Any) -> Requirements:
    assert isinstance(config, TrainConfig)
    workers = config.parallel.workers
    return Requirements(
        cpus=workers * config.parallel.cpus_per_worker if workers > 1 else 1.0,
        memory_bytes=workers * _WORKER_BYTES,
        disk_bytes=1 << 30,
    )


STAGES = [
    Stage(
        name="trainer.pretrain",
        config=PretrainConfig,
        output="checkpoint",
        run=pretrain.run,
        inputs={"tokens": Input(("tokens",)), "tokenizer": Input(("tokenizer",))},
        requires=_requires,
    ),
    Stage(
        name="trainer.sft",
        config=SftConfig,
        output="checkpoint",
        run=sft.run,
        inputs={
            "base": Input(("checkpoint",)),
            "conversations": Input(("questions", "conversations"), many=True),
        },
        requires=_requires,
    ),
]
