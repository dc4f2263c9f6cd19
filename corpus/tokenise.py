"""Tokenises documents into shards: one group of a corpus' parts becomes one work unit."""

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clusters.artifact import Artifact
from clusters.failpoints import failpoint
from clusters.units import Unit
from corpus.documents import text_batches
from corpus.errors import CorpusError
from corpus.token_store.writer import ShardWriter, shard_name
from corpus.tokenizer import end_of_text_id, load_backend

if TYPE_CHECKING:
    import pyarrow as pa
    from tokenizers import Tokenizer

    from corpus.selection import Selection


@dataclass(frozen=True)
class Piece:
    """Some neighbouring row groups of a part; all of them where none are named."""

    part: Path
    row_groups: range | None = None


@dataclass(frozen=True)
class Group:
    """Some pieces of the corpus, which become one shard per split and domain."""

    index: int
    shard_of_domain: dict[str, int]
    """Number of the shard that takes a domain's documents of this group."""
    pieces: list[Piece]

    @property
    def name(self) -> str:
        """Name of its work unit, within the step."""
        return f"group-{self.index:05d}"


def groups_of(parts: Sequence[Path], num_shards: int, domains: Sequence[str]) -> list[Group]:
    """Deal the parts out to groups; shards are numbered domain by domain.

    Where there are fewer parts than shards, each part is cut between its row groups.
    """
    pieces = [Piece(part) for part in parts]
    if len(parts) < num_shards:
        pieces = [piece for part in parts for piece in _cut(part, -(-num_shards // len(parts)))]
    num_groups = min(num_shards, len(pieces))
    return [
        Group(
            index,
            {domain: row * num_groups + index for row, domain in enumerate(domains)},
            pieces[index::num_groups],
        )
        for index in range(num_groups)
    ]


def _cut(part: Path, count: int) -> list[Piece]:
    """At most ``count`` pieces of a part, with row groups as equal in number as can be."""
    import pyarrow.parquet as pq

    total = pq.read_metadata(part).num_row_groups
    count = max(1, min(count, total))
    ends = [total * number // count for number in range(count + 1)]
    return [Piece(part, range(*pair)) for pair in pairwise(ends)]


def write_shards(
    unit: Unit, group: Group, tokenizer_folder: Path, selection: Artifact | None = None
) -> None:
    """Tokenise a group's documents, each ended by the end-of-text token.

    Leaves in ``unit.stats["shards"]`` each shard's split, text bytes and entry for
    ``store.json``, and in ``unit.stats["left_out"]`` what the selection did not keep.
    """
    writer = _GroupWriter(unit, group, load_backend(tokenizer_folder))
    chosen = None if selection is None else open_selection(selection)
    for piece in group.pieces:
        domains = None if chosen is None else chosen.part(piece.part.name)
        columns = ["uid", "split", "source"]
        for batch in text_batches(piece.part, columns, row_groups=piece.row_groups):
            writer.add(batch, domains)
            failpoint("corpus.tokens.inside_group")
    unit.stats["shards"] = writer.close()
    unit.stats["left_out"] = dict(writer.left_out)


class _GroupWriter:
    """The open shards of a group, one per split and domain."""

    def __init__(self, unit: Unit, group: Group, tokenizer: "Tokenizer") -> None:
        self.left_out = Counter({"documents": 0, "bytes": 0})
        self._unit, self._group, self._tokenizer = unit, group, tokenizer
        self._writers: dict[tuple[str, str], ShardWriter] = {}
        self._bytes: Counter[tuple[str, str]] = Counter()

    def add(self, batch: "pa.RecordBatch", domains: dict[int, str] | None) -> None:
        """Tokenise a batch; ``domains`` holds each chosen uid's, None takes the source."""
        import pyarrow.compute as pc

        sizes = pc.binary_length(batch["text"]).to_numpy(zero_copy_only=False)
        if domains is None:
            names = batch["source"].to_pylist()
        else:
            names = [domains.get(uid) for uid in batch["uid"].to_pylist()]
            out = np.array([name is None for name in names], dtype=bool)
            self.left_out["documents"] += int(out.sum())
            self.left_out["bytes"] += int(sizes[out].sum())
            batch, sizes = batch.filter(~out), sizes[~out]
            names = [name for name in names if name is not None]
        ids = encode(self._tokenizer, batch["text"].to_pylist())
        uids = batch["uid"].to_numpy(zero_copy_only=False)
        rows_of: dict[tuple[str, str], list[int]] = {}
        for row, key in enumerate(zip(batch["split"].to_pylist(), names, strict=True)):
            rows_of.setdefault(key, []).append(row)
        for key, rows in rows_of.items():
            self._writer(key).add_many(uids[rows], [ids[row] for row in rows])
            self._bytes[key] += int(sizes[rows].sum())

    def close(self) -> list[dict[str, Any]]:
        """Close all shards; each one's split, text bytes and entry, by split and domain."""
        return [
            {
                "split": key[0],
                "bytes": self._bytes[key],
                "shard": self._writers[key].close().model_dump(),
            }
            for key in sorted(self._writers)
        ]

    def _writer(self, key: tuple[str, str]) -> ShardWriter:
        if key not in self._writers:
            self._writers[key] = _open_shard(self._unit, self._group, key, self._tokenizer)
        return self._writers[key]


def encode(tokenizer: "Tokenizer", texts: list[str]) -> list[np.ndarray]:
    """Token ids of every text, u32, each of shape (tokens,)."""
    # An Encoding gives its ids as a list only. array() takes one in a third of numpy's
    # time, and a list that dies at once stays in the processor's cache.
    return [
        np.frombuffer(array("I", encoding.ids), dtype=np.uint32)
        for encoding in tokenizer.encode_batch_fast(texts)
    ]


def open_selection(artifact: Artifact, corpus: Artifact | None = None) -> "Selection":
    """The documents that a stage before this one chose, and their domains' weights.

    Raises:
        ArtifactError: it is no selection, or selects from another corpus than ``corpus``.
    """
    from corpus.selection import Selection

    selection = Selection.open(artifact)
    if corpus is not None:
        selection.check_of(corpus)
    return selection


def _open_shard(
    unit: Unit, group: Group, key: tuple[str, str], tokenizer: "Tokenizer"
) -> ShardWriter:
    split, domain = key
    if domain not in group.shard_of_domain:
        raise CorpusError(
            f"tokens: {split}: domain {domain!r} has documents but no shard; shards are of: "
            + ", ".join(sorted(group.shard_of_domain))
        )
    name = shard_name(group.shard_of_domain[domain])
    tok, doc, uid = (unit.path(f"tokens/{split}/{name}.{end}") for end in ("tok", "doc", "uid"))
    vocab_size, eos_id = tokenizer.get_vocab_size(), end_of_text_id(tokenizer)
    return ShardWriter(name, domain, tok, doc, uid, vocab_size, eos_id)
