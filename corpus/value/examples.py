"""Examples for the classifiers: sampled per shard by hash, merged to one bounded set.

Of every (classifier, class, seed, held out or not) the examples of smallest hash stay, so the
sample does not depend on how the corpus is cut or in which order shards are done, and what is
in memory is at most twice ``max_examples`` starts of documents for each.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from blake3 import blake3

from corpus.value.classifier import Example, Examples
from corpus.value.config import ClassifierConfig, Seed, ValueConfig
from corpus.value.features import classifier_text
from corpus.value.outside import read_seed

EXAMPLES = pa.schema(
    [
        pa.field("classifier", pa.string()),
        pa.field("side", pa.uint8()),
        pa.field("seed", pa.uint16()),
        pa.field("order", pa.uint64()),
        pa.field("held", pa.bool_()),
        pa.field("source", pa.string()),
        pa.field("text", pa.string()),
    ]
)
"""One example: side 0 is positive; ``text`` is what the classifier reads."""

Places = Iterator[tuple[ClassifierConfig, int, int, Seed]]
_KEYS = ("classifier", "side", "seed", "held")
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def order_of(uids: np.ndarray) -> np.ndarray:
    """u64 in an order that follows from nothing but the uids (which are hashes)."""
    return uids * _SPREAD


def places(config: ValueConfig) -> Places:
    """Every (classifier, side, number, seed)."""
    for classifier in config.classifiers:
        for side, seeds in enumerate((classifier.positives, classifier.negatives)):
            for number, seed in enumerate(seeds):
                yield classifier, side, number, seed


def is_held(order: np.ndarray, share: float) -> np.ndarray:
    """Which outside or rejected examples are held out; bits of ``order`` decide."""
    return ((order >> np.uint64(20)) & np.uint64(0xFFF)).astype(np.float64) < share * 4096


def rows_of(
    classifier: ClassifierConfig,
    side: int,
    number: int,
    order: np.ndarray,
    held: np.ndarray,
    sources: Sequence[str],
    texts: Sequence[str],
) -> pa.Table:
    """These examples as EXAMPLES; texts become what the classifier reads."""
    size = len(texts)
    read = [classifier_text(text, classifier.max_chars) for text in texts]
    table = pa.table(
        [
            pa.array([classifier.name] * size, pa.string()),
            pa.array(np.full(size, side, np.uint8)),
            pa.array(np.full(size, number, np.uint16)),
            pa.array(order.astype(np.uint64)),
            pa.array(held.astype(bool)),
            pa.array(sources, pa.string()),
            pa.array(read, pa.string()),
        ],
        schema=EXAMPLES,
    )
    return table.filter(pc.not_equal(table["text"], ""))


def smallest(table: pa.Table, limits: dict[str, int]) -> pa.Table:
    """Of each (classifier, side, seed, held) the rows of smallest order, sorted.

    ``limits`` says how many, by classifier.
    """
    order = [(name, "ascending") for name in (*_KEYS, "order", "text")]
    table = table.sort_by(order)
    if len(table) == 0:
        return table
    keys = [table[name].combine_chunks().dictionary_encode().indices for name in _KEYS]
    columns = np.stack([key.to_numpy() for key in keys])
    new = np.append(True, (columns[:, 1:] != columns[:, :-1]).any(axis=0))
    starts = np.flatnonzero(new)
    rank = np.arange(len(table)) - np.repeat(starts, np.diff(np.append(starts, len(table))))
    most = np.array([limits[name] for name in table["classifier"].to_pylist()])
    return table.take(pa.array(np.flatnonzero(rank < most)))


def merge(paths: Iterable[Path], config: ValueConfig) -> pa.Table:
    """The sampled examples of all shards and of the files outside, as EXAMPLES, sorted.

    Raises:
        CorpusError: a row of a file outside is broken.
    """
    limits = {c.name: c.max_examples for c in config.classifiers}
    merged = EXAMPLES.empty_table()
    for path in paths:
        merged = smallest(pa.concat_tables([merged, pq.read_table(path)]), limits)
    for classifier, side, number, seed in places(config):
        if seed.path is not None:
            for batch in _batches(read_seed(seed), classifier.max_examples):
                rows = _outside(classifier, side, number, Path(seed.path).name, batch)
                merged = smallest(pa.concat_tables([merged, rows]), limits)
    return merged


def examples_of(table: pa.Table, classifier: ClassifierConfig) -> Examples:
    """One classifier's examples; the seeds of a side share its ``max_examples`` evenly.

    What a seed cannot fill the others may.
    """
    mine = table.filter(pc.equal(table["classifier"], classifier.name))
    sides: list[list[Example]] = []
    for side, seeds in enumerate((classifier.positives, classifier.negatives)):
        chosen: list[Example] = []
        for held in (False, True):
            piles = [_pile(mine, side, number, held) for number in range(len(seeds))]
            counts = shares([len(pile) for pile in piles], classifier.max_examples)
            for pile, count in zip(piles, counts, strict=True):
                chosen += pile[:count]
        sides.append(chosen)
    return sides[0], sides[1]


def shares(available: list[int], total: int) -> list[int]:
    """``total`` dealt out evenly, no more to each than it has available."""
    given = [0] * len(available)
    for left, place in enumerate(sorted(range(len(available)), key=lambda i: available[i])):
        fair = (total - sum(given)) // (len(available) - left)
        given[place] = min(available[place], fair)
    return given


def _pile(table: pa.Table, side: int, number: int, held: bool) -> list[Example]:
    wanted = pc.and_(pc.equal(table["side"], side), pc.equal(table["seed"], number))
    rows = table.filter(pc.and_(wanted, pc.equal(table["held"], held)))
    columns = [rows[name].to_pylist() for name in ("order", "source", "text", "held")]
    return [Example(*row) for row in zip(*columns, strict=True)]


def _outside(
    classifier: ClassifierConfig, side: int, number: int, name: str, texts: list[str]
) -> pa.Table:
    raw = [blake3(text.encode("utf-8", "surrogatepass")).digest(8) for text in texts]
    order = np.frombuffer(b"".join(raw), "<u8")
    clean = [text.encode("utf-8", "replace").decode() for text in texts]
    held = is_held(order, classifier.heldout_share)
    return rows_of(classifier, side, number, order, held, [name] * len(texts), clean)


def _batches(texts: Iterator[str], size: int) -> Iterator[list[str]]:
    while batch := list(islice(texts, size)):
        yield batch
