"""The stage ``corpus.build`` as the runner sees it; heavy imports wait until it runs."""

from typing import Any

from clusters.stage import Requirements, StageContext
from contracts.manifest import ExternalInput
from corpus.config import BuildConfig
from corpus.memory import bound


def run(context: StageContext) -> dict[str, Any]:
    """Build the corpus; see :mod:`corpus.pipeline`."""
    from corpus.pipeline import build

    return build(context)


def external(config: BuildConfig) -> list[ExternalInput]:
    """What is read from outside, hashed; raises ConfigError where it cannot be read."""
    from corpus.decontaminate.items import external_inputs as evaluation_sets
    from corpus.safety.lists import external_inputs as lists
    from corpus.sources.plan import external_inputs as sources
    from corpus.value.config import external_inputs as seeds

    return [
        *sources(config),
        *lists(config.safety, "safety"),
        *evaluation_sets(config.decontaminate, "decontaminate"),
        *seeds(config.value, "value"),
    ]


def requirements(config: BuildConfig) -> Requirements:
    """Memory for the driver and the workers; disk for scratch and parts."""
    return Requirements(
        cpus=1.0, memory_bytes=bound(config, config.workers or 2), disk_bytes=1 << 30
    )
