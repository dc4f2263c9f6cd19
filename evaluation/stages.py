"""The stages of this room, as recipes name them."""

from clusters.stage import Input, Stage
from evaluation.run import RunConfig, external, requires, run

STAGES = [
    Stage(
        name="evaluation.run",
        config=RunConfig,
        output="scores",
        run=run,
        inputs={
            "models": Input(("checkpoint", "quantized"), many=True),
            "base": Input(("checkpoint",)),
            "tokens": Input(("tokens",)),
            "questions": Input(("questions",)),
        },
        external=external,
        requires=requires,
    ),
]
