"""The stages of this room, as recipes name them."""

from agents.demonstrate import DemonstrateConfig, demonstrate
from clusters.stage import Stage

STAGES = [
    Stage(
        name="agents.demonstrate",
        config=DemonstrateConfig,
        output="conversations",
        run=demonstrate,
        needs_ray=False,
    ),
]
