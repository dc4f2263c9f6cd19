"""Recall and completion as the runner sees them; heavy imports wait until they run."""

from typing import Any

from clusters.stage import Requirements, StageContext
from corpus.enrich.config import SearchConfig

_SEARCH_MEMORY = 600 << 20


def run_recall(context: StageContext) -> dict[str, Any]:
    """Find similar text; see :mod:`corpus.enrich.recall`."""
    from corpus.enrich.recall import recall

    return recall(context)


def run_complete(context: StageContext) -> dict[str, Any]:
    """Fill a mixture; see :mod:`corpus.enrich.complete`."""
    from corpus.enrich.complete import complete

    return complete(context)


def requirements(config: SearchConfig) -> Requirements:
    """Each worker holds the classifier or the queries, and narrow columns of one part."""
    workers = config.workers or 2
    return Requirements(cpus=1.0, memory_bytes=(1 + workers) * _SEARCH_MEMORY)
