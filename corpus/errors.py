"""What stops a corpus build."""


class CorpusError(Exception):
    """The input as a whole cannot be used; the message says why and what to do."""
