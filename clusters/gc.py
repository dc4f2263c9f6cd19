"""Frees what no run points to: artifacts, unfinished attempts, lost races."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from clusters import runs
from clusters.artifact import artifact_directory
from clusters.config import ConfigError
from contracts.manifest import MANIFEST_NAME, Manifest


@dataclass(frozen=True)
class Garbage:
    """A folder nobody needs."""

    path: Path
    bytes: int
    why: str


def garbage(store: Path, runs_root: Path) -> list[Garbage]:
    """Folders below ``store`` that no run of ``runs_root`` points to.

    Raises:
        ConfigError: a run is going on; its unfinished work would look like garbage.
    """
    records = runs.all_runs(runs_root)
    for record in records:
        if runs.is_driven(runs_root / record.name):
            raise ConfigError(f"run {record.name!r} is running; wait for it before collecting")
    needed = {  # finished ones, and unfinished ones that the same command would resume
        artifact_directory(store.absolute(), stage.kind, stage.fingerprint)
        for record in records
        for stage in record.stages.values()
        if stage.fingerprint
    }
    found = []
    for directory in sorted(p for p in store.absolute().glob("*/*") if p.is_dir()):
        finished = (directory / MANIFEST_NAME).exists()
        if directory not in needed:
            found.append(_garbage(directory, "no run points to it" if finished else "unfinished"))
        elif finished:
            found += _leftovers(directory)
    return found


def _leftovers(directory: Path) -> list[Garbage]:
    """Attempts beside the one that committed."""
    manifest = Manifest.model_validate_json((directory / MANIFEST_NAME).read_text("utf-8"))
    return [
        _garbage(child, "an attempt that did not commit")
        for child in sorted(directory.iterdir())
        if child.is_dir() and child.name != manifest.attempt
    ]


def _garbage(path: Path, why: str) -> Garbage:
    size = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    return Garbage(path, size, why)


def collect(found: list[Garbage]) -> None:
    """Delete; a manifest goes first, so that a half-deleted artifact is not taken for whole."""
    for item in found:
        (item.path / MANIFEST_NAME).unlink(missing_ok=True)
        shutil.rmtree(item.path)
