"""The stage ``corpus.select`` as the runner sees it; heavy imports wait until it runs."""

from typing import Any

from clusters.stage import Requirements, StageContext
from corpus.select.config import SelectConfig


def run(context: StageContext) -> dict[str, Any]:
    """Select documents; see :mod:`corpus.select.stage`."""
    from corpus.select.stage import select

    return select(context)


def requirements(config: SelectConfig) -> Requirements:
    """Each worker holds a batch of documents and the narrow columns of one part."""
    return Requirements(cpus=1.0, memory_bytes=(1 + (config.workers or 2)) << 28)
