"""What became of a document: kept with its scores, or rejected with stage and reason."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from clusters.artifact import Artifact

if TYPE_CHECKING:
    import pyarrow.compute as pc

_IDENTITY = ("uid", "id", "url", "source", "split", "cluster", "dup_count", "lang", "text")


class Fate(BaseModel):
    """One record that matched, and what became of it."""

    model_config = ConfigDict(extra="forbid")

    uid: int
    id: str
    url: str | None
    kept: bool
    source: str | None = None
    split: str | None = None
    lang: str | None = None
    cluster: int | None = None
    """Documents of equal number are near duplicates of each other."""
    dup_count: int | None = None
    """Documents that this one stands for, itself included."""
    scores: dict[str, float | None] = {}
    """Every score column of the kept document, by name."""
    stage: str | None = None
    """The step that rejected it."""
    reason: str | None = None
    score: float | None = None
    """The value on which it was rejected."""
    file: str
    """Data file that holds the row, by logical name."""


def find(corpus: Artifact, key: str) -> list[Fate]:
    """Every kept or rejected record whose uid or id is ``key``, kept ones first."""
    kept = _matching(corpus.files("documents/"), key)
    rejected = _matching(corpus.files("rejected/"), key)
    return [_kept(corpus, path, row) for path, row in kept] + [
        Fate(**row, kept=False, file=path.relative_to(corpus.root).as_posix())
        for path, row in rejected
    ]


def _matching(files: Sequence[Path], key: str) -> list[tuple[Path, dict[str, Any]]]:
    import pyarrow.parquet as pq

    found = []
    for path in files:
        columns = [name for name in pq.read_schema(path).names if name != "text"]
        table = pq.read_table(path, columns=columns, filters=_filter(key))
        found += [(path, row) for row in table.to_pylist()]
    return found


def _filter(key: str) -> "pc.Expression":
    import pyarrow as pa
    import pyarrow.compute as pc

    matches = pc.field("id") == key
    if key.isdecimal() and int(key) < 1 << 64:
        matches |= pc.field("uid") == pa.scalar(int(key), pa.uint64())
    return matches


def _kept(corpus: Artifact, path: Path, row: dict[str, Any]) -> Fate:
    identity = {name: row[name] for name in _IDENTITY if name in row}
    scores = {name: value for name, value in row.items() if name not in _IDENTITY}
    return Fate(**identity, kept=True, scores=scores, file=path.relative_to(corpus.root).as_posix())
