"""What stops a corpus stage."""

from clusters.stage import StageError


class CorpusError(StageError):
    """The input as a whole cannot be used; the message says why and what to do."""
