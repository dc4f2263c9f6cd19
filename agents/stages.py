"""The stages of this room, as recipes name them."""

from agents.demonstrate import DemonstrateConfig, demonstrate
from agents.rollout import RolloutConfig, needed, rollout
from clusters.stage import Input, Stage

STAGES = [
    Stage(
        name="agents.demonstrate",
        config=DemonstrateConfig,
        output="conversations",
        run=demonstrate,
        needs_ray=False,
    ),
    Stage(
        name="agents.rollout",
        config=RolloutConfig,
        output="trajectories",
        run=rollout,
        version=2,
        inputs={"model": Input(("quantized", "checkpoint"))},
        requires=needed,
    ),
]
