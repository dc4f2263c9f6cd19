"""Keeps an index in one file, without pickle, whose arrays workers map into memory.

Layout: 8 bytes length of the header, the header as UTF-8 JSON, then each array at an offset that
is a multiple of 64. The file depends on the index alone.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from corpus.decontaminate.index import Coverage, Index
from corpus.errors import CorpusError

_VERSION = 1
_ARRAYS = {"hashes": "<u8", "items": "<u4", "places": "<u4"}
_ALIGN = 64


def save_index(index: Index, path: Path) -> None:
    """Write an index."""
    offset, entries = 0, {}
    for name, dtype in _ARRAYS.items():
        length = len(getattr(index, name))
        entries[name] = [offset, length]
        offset = _aligned(offset + length * np.dtype(dtype).itemsize)
    header = json.dumps(
        {
            "version": _VERSION,
            "arrays": entries,
            "sizes": index.sizes,
            "offsets": index.offsets,
            "names": index.names,
            "needed": index.needed,
            "texts": index.texts,
            "coverage": {name: asdict(c) for name, c in index.coverage.items()},
        },
        ensure_ascii=False,
    ).encode("utf-8", "surrogatepass")
    start = _aligned(8 + len(header))
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for name, dtype in _ARRAYS.items():
            file.write(b"\0" * (start + entries[name][0] - file.tell()))
            file.write(getattr(index, name).astype(dtype).tobytes())


def load_index(path: Path) -> Index:
    """Open an index; its arrays are mapped, so workers of one machine share them.

    Raises:
        CorpusError: the file is no index, or cut short.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = _header(file.read(length))
        start = _aligned(8 + length)
        arrays = {name: _map(path, start, name, header["arrays"][name]) for name in _ARRAYS}
    except (OSError, ValueError, KeyError, MemoryError) as error:
        raise CorpusError(f"{path}: no whole decontamination index: {error}") from error
    return Index(
        sizes=header["sizes"],
        offsets=header["offsets"],
        names=[tuple(name) for name in header["names"]],
        needed=header["needed"],
        texts=header["texts"],
        coverage={name: Coverage(**c) for name, c in header["coverage"].items()},
        **arrays,
    )


def _header(raw: bytes) -> dict[str, Any]:
    header = json.loads(raw.decode("utf-8", "surrogatepass"))
    if header.get("version") != _VERSION:
        raise ValueError(f"version {header.get('version')}, expected {_VERSION}")
    return header


def _map(path: Path, start: int, name: str, entry: list[int]) -> np.ndarray:
    offset, length = entry
    dtype = np.dtype(_ARRAYS[name])
    if not length:
        return np.zeros(0, dtype)
    return np.memmap(path, dtype, "r", offset=start + offset, shape=(length,))


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGN) * _ALIGN
