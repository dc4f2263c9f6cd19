"""A few examples of what every step kept and rejected, the same whoever collects them.

Of each (step, reason) the records with the smallest hashes of seed and uid are kept, so
the choice depends on no order and on no number of workers; collections add up.
``samples.jsonl`` of the artifact holds a :class:`Sample` per line.
"""

import heapq
from collections.abc import Iterable
from pathlib import Path

from blake3 import blake3
from pydantic import BaseModel, ConfigDict

from corpus.ledger import PASSED

SAMPLES_NAME = "samples.jsonl"
KEPT = PASSED
"""The reason of documents that passed."""
MAX_CHARS = 400
MAX_EACH = 4


class Sample(BaseModel):
    """One record as an example."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: str
    reason: str
    """Why the step rejected it; empty for a kept document."""
    uid: int
    source: str
    lang: str
    url: str | None = None
    score: float | None = None
    """The value on which it was rejected."""
    text: str
    """Its beginning, at most ``MAX_CHARS`` characters."""


class Samples:
    """Collects examples; holds at most ``each`` per step and reason."""

    def __init__(self, seed: int, each: int = MAX_EACH, max_chars: int = MAX_CHARS) -> None:
        """Start empty.

        Args:
            seed: another seed chooses other examples.
            each: examples per step and reason.
            max_chars: of a text, more is cut.
        """
        self._seed = seed.to_bytes(8, "little", signed=True)
        self._each = each
        self._max_chars = max_chars
        self._heaps: dict[tuple[str, str], list[tuple[int, str, Sample]]] = {}

    def offer(
        self,
        step: str,
        reason: str,
        uid: int,
        *,
        source: str,
        lang: str,
        text: str,
        url: str | None = None,
        score: float | None = None,
    ) -> None:
        """Keep the record if its hash is among the smallest of its step and reason."""
        order = self._order(uid)
        heap = self._heaps.setdefault((step, reason), [])
        if len(heap) >= self._each and order > -heap[0][0]:
            return
        sample = Sample(
            step=step,
            reason=reason,
            uid=uid,
            source=_clean(source),
            lang=lang,
            url=None if url is None else _clean(url),
            score=score,
            text=_clean(text[: self._max_chars]),
        )
        self._keep(heap, order, sample)

    def merge(self, samples: Iterable[Sample]) -> None:
        """Add what another collection holds."""
        for sample in samples:
            heap = self._heaps.setdefault((sample.step, sample.reason), [])
            self._keep(heap, self._order(sample.uid), sample)

    def all(self) -> list[Sample]:
        """Every example, by step, reason and hash."""
        return [
            sample
            for key in sorted(self._heaps)
            for _, _, sample in sorted(self._heaps[key], key=lambda entry: (-entry[0], entry[1]))
        ]

    def _order(self, uid: int) -> int:
        digest = blake3(self._seed + uid.to_bytes(8, "little")).digest(8)
        return int.from_bytes(digest, "little")

    def _keep(self, heap: list[tuple[int, str, Sample]], order: int, sample: Sample) -> None:
        # The heap's head is the largest: hashes are negated. Records of one uid (ids that
        # came twice) are told apart by what they say, so that no order of arrival shows.
        entry = (-order, sample.model_dump_json(), sample)
        if any(entry[:2] == other[:2] for other in heap):
            return
        heapq.heappush(heap, entry)
        if len(heap) > self._each:
            largest = max(heap, key=lambda other: (-other[0], other[1]))
            heap.remove(largest)
            heapq.heapify(heap)


def write_samples(path: Path, samples: Samples) -> None:
    """Write ``samples.jsonl``; equal collections give equal bytes."""
    lines = [sample.model_dump_json() + "\n" for sample in samples.all()]
    path.write_text("".join(lines), encoding="utf-8")


def read_samples(path: Path) -> list[Sample]:
    """Read ``samples.jsonl``; raises pydantic's ValidationError where a line is no sample."""
    with open(path, encoding="utf-8") as lines:
        return [Sample.model_validate_json(line) for line in lines]


def _clean(text: str) -> str:
    """Text that JSON takes: bad input may carry unpaired surrogates."""
    return text.encode("utf-8", "replace").decode()
