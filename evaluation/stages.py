"""The stages of this room, as recipes name them."""

from clusters.stage import Input, Stage
from evaluation.report.build import ReportConfig
from evaluation.report.build import run as report
from evaluation.run import RunConfig, external, requires, run

STAGES = [
    Stage(
        name="evaluation.run",
        config=RunConfig,
        output="scores",
        run=run,
        version=2,
        inputs={
            "models": Input(("checkpoint", "quantized"), many=True),
            "base": Input(("checkpoint",)),
            "tokens": Input(("tokens",)),
            "questions": Input(("questions",)),
        },
        external=external,
        requires=requires,
    ),
    Stage(
        name="evaluation.report",
        config=ReportConfig,
        output="report",
        run=report,
        version=2,
        inputs={
            "corpus": Input(("corpus",)),
            "tokens": Input(("tokens",)),
            "checkpoints": Input(("checkpoint",), many=True),
            "quantized": Input(("quantized",), many=True, optional=True),
            "scores": Input(("scores",)),
            "trajectories": Input(("trajectories",), optional=True),
        },
        needs_ray=False,
    ),
]
