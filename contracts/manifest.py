"""The manifest that closes an artifact: what was asked, what came out, from what.

* ``fingerprint`` says what was *asked*: stage, version, config, parents, inputs.
* ``digest`` says what *came out*: the names and contents of the data files.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from blake3 import blake3
from pydantic import BaseModel, ConfigDict, Field

MANIFEST_NAME = "manifest.json"
_READ_BYTES = 1 << 20


class FileEntry(BaseModel):
    """One data file of an artifact."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Logical name, stable over attempts, e.g. ``documents/part-00000.parquet``."""
    path: str
    """Where it lies, relative to the artifact's directory (holds the attempt)."""
    bytes: int
    blake3: str


class ExternalInput(BaseModel):
    """Something read that no stage made: a file, a package, a remote object."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Relative name, so that moving the folder changes nothing."""
    bytes: int
    blake3: str
    """Content hash; for a remote object its etag."""


class Parent(BaseModel):
    """An artifact that was read, as it was when it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: str
    """The stage's own name for this input, e.g. ``tokens``."""
    kind: str
    fingerprint: str
    digest: str


class Manifest(BaseModel):
    """Contents of ``manifest.json``; its existence means the artifact is whole."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    stage: str
    version: int
    fingerprint: str
    digest: str
    attempt: str
    config: dict[str, Any]
    parents: list[Parent] = Field(default_factory=list)
    external: list[ExternalInput] = Field(default_factory=list)
    files: list[FileEntry] = Field(default_factory=list)
    stats: dict[str, Any] = Field(default_factory=dict)
    """Counts and figures worth showing; never part of the digest."""
    seconds: float = 0.0
    """Wall time of the attempt that committed."""
    created: str = ""
    """UTC time of the commit, ISO 8601."""


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces: one spelling per value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def hash_bytes(data: bytes) -> str:
    """blake3 of ``data``, 64 hex digits."""
    return blake3(data).hexdigest()


def hash_file(path: Path) -> tuple[int, str]:
    """Return ``(bytes, blake3)`` of a file, read in pieces."""
    hasher = blake3()
    size = 0
    with open(path, "rb") as file:
        while piece := file.read(_READ_BYTES):
            hasher.update(piece)
            size += len(piece)
    return size, hasher.hexdigest()


def fingerprint(
    stage: str,
    version: int,
    config: Mapping[str, Any],
    parents: Iterable[Parent] = (),
    external: Iterable[ExternalInput] = (),
) -> str:
    """blake3 of what is asked of a stage, 64 hex digits.

    ``config`` must already be without its execution fields. Parents count by role
    and digest, in order; external inputs by name, size and content hash.
    """
    return hash_bytes(
        canonical_json(
            {
                "stage": stage,
                "version": version,
                "config": dict(config),
                "parents": [[parent.role, parent.digest] for parent in parents],
                "external": sorted([item.name, item.bytes, item.blake3] for item in external),
            }
        )
    )


def digest(files: Iterable[FileEntry]) -> str:
    """blake3 over the sorted (logical name, blake3) of the data files."""
    return hash_bytes(canonical_json(sorted([entry.name, entry.blake3] for entry in files)))
