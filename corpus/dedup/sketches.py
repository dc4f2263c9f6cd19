"""Files in which a shard's sketches lie, row-aligned with its candidates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from clusters.units import Unit
from corpus.dedup.minhash import Sketch
from corpus.exchange.flow import record
from corpus.workspace import Workspace

DOCUMENT = record(uid="u8", content="u8", content_low="u8", name="u8", bytes="u8")
"""``content`` and ``content_low``: the content hash; ``name``: hash of source and id."""
PARAGRAPH = record(hash="u8", row="u4", size="u4")

_DOCUMENTS, _KEYS, _PARAGRAPHS = "documents.bin", "keys.bin", "paragraphs.bin"
_SIGNATURES, _SHINGLES, _ENDS = "signatures.bin", "shingles.bin", "shingle_ends.bin"


class SketchWriter:
    """Appends the sketches of one shard to its files, in a ``with`` block."""

    def __init__(self, unit: Unit, *, signatures: bool, shingles: bool) -> None:
        names = [_DOCUMENTS, _KEYS, _PARAGRAPHS]
        names += [_SIGNATURES] if signatures else []
        names += [_SHINGLES, _ENDS] if shingles else []
        self._files = {name: unit.scratch(name).open("wb") for name in names}
        self._rows = 0
        self._shingles = 0

    def __enter__(self) -> "SketchWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in self._files.values():
            file.close()

    def add(
        self, uid: int, name: int, size: int, sketch: Sketch, shingles: np.ndarray | None
    ) -> None:
        """Append one document's sketch; ``shingles`` are its distinct ones, sorted, u64."""
        high, low = np.frombuffer(sketch.content, "<u8").tolist()
        document = np.array([(uid, high, low, name, size)], DOCUMENT)
        self._files[_DOCUMENTS].write(document.tobytes())
        self._files[_KEYS].write(sketch.keys.astype("<u8").tobytes())
        paragraphs = np.empty(len(sketch.paragraphs), PARAGRAPH)
        paragraphs["hash"] = sketch.paragraphs
        paragraphs["size"] = sketch.paragraph_bytes
        paragraphs["row"] = self._rows
        self._files[_PARAGRAPHS].write(paragraphs.tobytes())
        if _SIGNATURES in self._files:
            self._files[_SIGNATURES].write(sketch.signature.astype("<u4").tobytes())
        if shingles is not None:
            self._shingles += len(shingles)
            self._files[_SHINGLES].write(shingles.astype("<u8").tobytes())
            self._files[_ENDS].write(np.array([self._shingles], "<u8").tobytes())
        self._rows += 1


@dataclass(frozen=True)
class Sketches:
    """The sketches of all shards. Picklable; reads when asked."""

    work: Workspace
    bands: int
    rows: int

    def documents(self, shard: int) -> np.ndarray:
        """DOCUMENT records of a shard."""
        return np.fromfile(self._path(shard, _DOCUMENTS), DOCUMENT)

    def keys(self, shard: int) -> np.ndarray:
        """Band keys of a shard, u64, shape (documents, bands)."""
        return np.fromfile(self._path(shard, _KEYS), "<u8").reshape(-1, self.bands)

    def paragraphs(self, shard: int) -> np.ndarray:
        """PARAGRAPH records of a shard, rows rising; one that stands twice, twice."""
        return np.fromfile(self._path(shard, _PARAGRAPHS), PARAGRAPH)

    def signatures(self, shard: int) -> np.ndarray:
        """Signatures of a shard, mapped, u32, shape (documents, bands * rows)."""
        width = self.bands * self.rows
        return _mapped(self._path(shard, _SIGNATURES), "<u4").reshape(-1, width)

    def shingles(self, shard: int) -> "Shingles":
        """Shingle sets of a shard."""
        ends = _mapped(self._path(shard, _ENDS), "<u8")
        return Shingles(_mapped(self._path(shard, _SHINGLES), "<u8"), ends)

    def _path(self, shard: int, name: str) -> Path:
        return self.work.file(f"sketch/{self.work.shards[shard]}", name)


@dataclass(frozen=True)
class Shingles(Sequence[np.ndarray]):
    """Shingle sets of a shard's documents, mapped: sorted u64 each."""

    values: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> np.ndarray:  # type: ignore[override]
        start = int(self.ends[row - 1]) if row else 0
        return self.values[start : int(self.ends[row])]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))


def _mapped(path: Path, kind: str) -> np.ndarray:
    if path.stat().st_size == 0:
        return np.empty(0, kind)
    return np.memmap(path, kind, "r")
