"""Chooses documents up to a number of bytes, shared out among languages, sources or domains.

A document's place in the order is a hash of seed and uid, so the choice does not depend on
how a corpus is cut into parts. The text column is read only where a row group holds a
candidate, and only candidates are held: documents whose hash is below a limit that starts
low and rises until every share is filled.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from blake3 import blake3

from corpus.token_store.permutation import mix

if TYPE_CHECKING:
    import pyarrow as pa

_FIRST_CANDIDATES = 20_000
"""Rows, of all there are, that the first limit is set for."""

Groups = Callable[[Path, "pa.Table"], Sequence[str | None]]
"""``groups(part, rows)``: what each row is counted as; None leaves it out."""


@dataclass(frozen=True)
class GroupSample:
    """What was chosen of one group."""

    documents: int
    bytes: int


@dataclass(frozen=True)
class TextSample:
    """Documents chosen from a corpus."""

    uids: frozenset[int]
    groups: dict[str, GroupSample]
    """By name, only those that have any."""

    @property
    def bytes(self) -> int:
        """Of all their texts, in UTF-8."""
        return sum(group.bytes for group in self.groups.values())


@dataclass
class _Candidates:
    """Documents below the limit, of one group."""

    order: list[np.ndarray] = field(default_factory=list)
    uids: list[np.ndarray] = field(default_factory=list)
    sizes: list[np.ndarray] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(int(sizes.sum()) for sizes in self.sizes)

    def smallest(self, budget: float) -> tuple[list[int], int]:
        """Uids in order of their hash until ``budget`` bytes are reached, and their bytes."""
        order, uids, sizes = (np.concatenate(x) for x in (self.order, self.uids, self.sizes))
        rank = np.lexsort((uids, order))
        ends = np.cumsum(sizes[rank])
        count = min(int(np.searchsorted(ends, budget, side="left")) + 1, len(ends))
        return uids[rank[:count]].tolist(), int(ends[count - 1])


def sample_texts(
    parts: Sequence[Path],
    split: str,
    max_bytes: int,
    seed: int,
    *,
    by: str = "lang",
    weights: Mapping[str, float] | None = None,
    smoothing: float = 1.0,
    groups: Groups | None = None,
) -> TextSample:
    """Choose documents of a split.

    Args:
        parts: ``documents/part-*.parquet``.
        split: ``train`` or ``validation``.
        max_bytes: of text; the last document of a group may go beyond its share.
        seed: another seed chooses other documents.
        by: column whose values are the groups, where ``groups`` is not given.
        weights: share of ``max_bytes`` per group, of their sum; groups not named get none.
            What a group has too little text for goes to the others.
        smoothing: without weights, shares are in proportion to bytes ** smoothing: 1 as in
            the corpus, 0 the same for all (XLM-R took 0.3, arXiv:1911.02116).
        groups: names the group of each row by other means than a column.
    """
    import pyarrow.parquet as pq

    rows = sum(pq.read_metadata(part).num_rows for part in parts)
    shift = max(0, (rows // _FIRST_CANDIDATES).bit_length() - 1)
    while True:
        found = _candidates(parts, split, seed, shift, by, groups)
        sizes = {name: float(group.bytes << shift) for name, group in found.items()}
        budgets = shares(sizes, max_bytes, weights, smoothing)
        short = [name for name, wanted in budgets.items() if sizes[name] < wanted * (1 << shift)]
        missing = shift and set(weights or {}) - set(found)
        if shift == 0 or not (short or missing):
            break
        shift = max(0, shift - 2)
    chosen = {name: found[name].smallest(budget) for name, budget in sorted(budgets.items())}
    uids = frozenset(uid for some, _ in chosen.values() for uid in some)
    return TextSample(uids, {n: GroupSample(len(u), size) for n, (u, size) in chosen.items()})


def shares(
    sizes: Mapping[str, float],
    max_bytes: int,
    weights: Mapping[str, float] | None,
    smoothing: float,
) -> dict[str, float]:
    """Bytes to take of each group: by weight, none more than it has, the rest to the others.

    Args:
        sizes: bytes that there are of each group.
        max_bytes: to share out.
        weights: see ``sample_texts``.
        smoothing: see ``sample_texts``.
    """
    if weights is None:
        wanted = {name: size**smoothing for name, size in sizes.items() if size}
    else:
        wanted = {name: weights.get(name, 0.0) for name, size in sizes.items() if size}
    wanted = {name: weight for name, weight in wanted.items() if weight > 0}
    given: dict[str, float] = {}
    left = float(max_bytes)
    while wanted:
        whole = sum(wanted.values())
        full = [name for name, w in wanted.items() if sizes[name] <= left * w / whole]
        if not full:
            return given | {name: left * w / whole for name, w in wanted.items()}
        given |= {name: sizes[name] for name in full}
        left -= sum(sizes[name] for name in full)
        wanted = {name: w for name, w in wanted.items() if name not in given}
    return given


def read_texts(parts: Sequence[Path], uids: frozenset[int]) -> Iterator[str]:
    """Texts of the documents with these uids, in file and row order."""
    for _, texts in read_grouped(parts, uids, "lang", 1):
        yield from texts


def read_grouped(
    parts: Sequence[Path], uids: frozenset[int], by: str, most: int
) -> Iterator[tuple[str, list[str]]]:
    """Texts of the documents with these uids, up to ``most`` neighbours of equal ``by`` at once.

    In file and row order; the text column is read only where a row group holds one of them.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = pa.array(sorted(uids), type=pa.uint64())
    for part in parts:
        with pq.ParquetFile(part) as file:
            for number in range(file.num_row_groups):
                narrow = file.read_row_group(number, list(dict.fromkeys(["uid", by])))
                mask = pc.is_in(narrow["uid"], wanted)
                if not pc.any(mask).as_py():
                    continue
                texts = file.read_row_group(number, ["text"])["text"].filter(mask)
                pairs = zip(narrow[by].filter(mask).to_pylist(), texts.to_pylist(), strict=True)
                for name, run in groupby(pairs, key=lambda pair: pair[0]):
                    while batch := [text for _, text in islice(run, most)]:
                        yield name, batch


def _candidates(
    parts: Sequence[Path], split: str, seed: int, shift: int, by: str, groups: Groups | None
) -> dict[str, _Candidates]:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    key = np.frombuffer(blake3(str(seed).encode()).digest(8), dtype="<u8")[0]
    limit = np.uint64((1 << 64 - shift) - 1)
    columns = list(dict.fromkeys(["uid", "split", "source", "lang", *([] if groups else [by])]))
    found: dict[str, _Candidates] = {}
    for part in parts:
        with pq.ParquetFile(part) as file:
            for number in range(file.num_row_groups):
                table = file.read_row_group(number, columns)
                uids = table["uid"].to_numpy()
                order = mix(uids ^ key)
                mask = (order <= limit) & pc.equal(table["split"], split).to_numpy()
                if not mask.any():
                    continue
                text = file.read_row_group(number, ["text"])["text"]
                sizes = pc.binary_length(text).to_numpy().astype(np.int64)
                names = groups(part, table) if groups else table[by].to_pylist()
                rows_of: dict[str, list[int]] = {}
                for row in np.flatnonzero(mask).tolist():
                    name = names[row]
                    if name is not None:
                        rows_of.setdefault(name, []).append(row)
                for name, rows in rows_of.items():
                    group = found.setdefault(name, _Candidates())
                    group.order.append(order[rows])
                    group.uids.append(uids[rows])
                    group.sizes.append(sizes[rows])
    return found
