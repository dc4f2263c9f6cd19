"""Pretraining rows straight from a token store."""

import numpy as np

from corpus.token_store import Sample, Sampler, Schedule, TokenStore
from trainer.data.rows import Row
from trainer.losses.cross_entropy import IGNORE


class TokenRows:
    """Training rows from one store's sample order, validation rows from another's."""

    def __init__(
        self,
        train: TokenStore,
        validation: TokenStore | None,
        *,
        sequence_length: int,
        seed: int,
        validation_rows: int,
        schedule: Schedule | None = None,
    ) -> None:
        """Open the row source.

        Args:
            train: store whose sample order ``(seed, sequence_length)`` is trained on.
            validation: store that the validation loss is taken on; None for no such loss.
            validation_rows: rows per domain of ``validation``, spread evenly over it.
            schedule: (first sample, weight per domain); by default the store's own weights.

        Raises:
            ValueError: the schedule names a domain that the store has not.
        """
        self.row_length = sequence_length
        self._train = train
        self._sampler = Sampler(train, sequence_length, seed, schedule)
        self._validation = validation
        self._validation_rows = validation_rows

    def row(self, k: int) -> Row:
        """Sample ``k`` of the store's order."""
        sample = self.sample(k)
        place = sample.location
        return document_row(sample.tokens, self._borders(self._train, place.shard, place.start))

    def sample(self, k: int) -> Sample:
        """Sample ``k`` as the store knows it: place, documents and tokens."""
        return self._sampler.sample(k)

    def validation(self) -> dict[str, list[Row]]:
        """Domain -> evenly spaced windows; domains without a whole window are left out."""
        if self._validation is None:
            return {}
        found = {}
        for domain in self._validation.domains:
            windows = self._windows(domain)
            if windows:
                take = np.linspace(0, len(windows) - 1, min(self._validation_rows, len(windows)))
                found[domain] = [self._window_row(*windows[int(i)]) for i in take]
        return found

    def _windows(self, domain: str) -> list[tuple[int, int]]:
        """(shard, start) of every window of a domain of the validation store."""
        assert self._validation is not None
        return [
            (index, start)
            for index, shard in enumerate(self._validation.meta.shards)
            if shard.domain == domain
            for start in range(0, shard.tokens - self.row_length, self.row_length)
        ]

    def _window_row(self, shard: int, start: int) -> Row:
        assert self._validation is not None
        tokens = self._validation.window(shard, start, self.row_length + 1)
        return document_row(tokens, self._borders(self._validation, shard, start))

    def _borders(self, store: TokenStore, shard: int, start: int) -> np.ndarray:
        """Document borders among a row's inputs and the one token after them."""
        return store.documents(shard, start, self.row_length + 1).cu_seqlens


def document_row(tokens: np.ndarray, cu_seqlens: np.ndarray) -> Row:
    """A window of a token store as a row.

    The last token of a document does not predict the first of the next: what follows it
    in the store is chance.

    Args:
        tokens: (length + 1,) token ids.
        cu_seqlens: (documents + 1,) boundaries among all of them, from 0 to length + 1. That
            a document ends with the last input can be told only with the token after it.
    """
    tokens = tokens.astype(np.int64)
    labels = tokens[1:].copy()
    inner = cu_seqlens[1:-1]
    labels[inner - 1] = IGNORE
    length = len(labels)
    lengths = np.diff(np.concatenate([[0], inner[inner < length], [length]]))
    segments = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    return Row(inputs=tokens[:-1], labels=labels, segments=segments)


def unigram_loss(log_probs: np.ndarray, rows: list[Row]) -> float:
    """Mean loss, in nats per token, of a unigram model on the labels of ``rows``.

    Args:
        log_probs: of each id, shape (vocabulary,), from ``unigram_log_probs``.
    """
    labels = np.concatenate([row.labels for row in rows])
    return float(-log_probs[labels[labels != IGNORE]].mean())
