"""Stages of the trainer room."""

from typing import Any

from clusters.stage import Input, Requirements, Stage
from trainer import pretrain, sft
from trainer.config import PretrainConfig, SftConfig, TrainConfig
from trainer.models.source import external_files

_PROCESS_BYTES = 950 << 20
"""Of a worker with a model of ten million parameters, as measured; of the driver too."""


def _requires(config: Any) -> Requirements:
    assert isinstance(config, TrainConfig)
    parallel = config.parallel
    if parallel.workers == 1 and parallel.min_workers is None:
        return Requirements(memory_bytes=_PROCESS_BYTES)
    return Requirements(
        cpus=(parallel.min_workers or parallel.workers) * parallel.cpus_per_worker,
        memory_bytes=(parallel.workers + 1) * _PROCESS_BYTES,
        disk_bytes=1 << 30,
    )


STAGES = [
    Stage(
        name="trainer.pretrain",
        config=PretrainConfig,
        output="checkpoint",
        run=pretrain.run,
        version=5,
        inputs={"tokens": Input(("tokens",)), "tokenizer": Input(("tokenizer",))},
        external=external_files,
        requires=_requires,
    ),
    Stage(
        name="trainer.sft",
        config=SftConfig,
        output="checkpoint",
        run=sft.run,
        version=5,
        inputs={
            "base": Input(("checkpoint",)),
            "conversations": Input(("questions", "conversations"), many=True),
            "replay": Input(("tokens",), optional=True),
        },
        requires=_requires,
    ),
]
