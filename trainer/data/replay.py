"""Replay: rows of pretraining text among the rows of a tuning stage.

A model that is tuned on conversations alone forgets plain text; training on some of the
old data beside the new is the usual remedy (arXiv:2403.08763).
"""

from trainer.data.rows import Row, RowSource

PREFIX = "replay/"
"""Stands before the domains of replayed text in validation losses."""


class ReplayedRows:
    """Rows of ``new`` in order, with ``share`` of all rows taken from ``old`` in order."""

    def __init__(self, new: RowSource, old: RowSource, share: float) -> None:
        """Mix two sources of the same row length; ``share`` is at least 0 and below 1."""
        self.row_length = new.row_length
        self._new, self._old, self._share = new, old, share

    def row(self, k: int) -> Row:
        """Sample ``k``: replayed rows stand as evenly among the others as they can."""
        before = replayed_rows(k, self._share)
        if replayed_rows(k + 1, self._share) > before:
            return self._old.row(before)
        return self._new.row(k - before)

    def validation(self) -> dict[str, list[Row]]:
        """Held-out rows of both, so that the curve shows what is forgotten."""
        old = {f"{PREFIX}{domain}": rows for domain, rows in self._old.validation().items()}
        return {**self._new.validation(), **old}


def replayed_rows(count: int, share: float) -> int:
    """How many of the first ``count`` rows are replayed."""
    return int(count * share)
