"""Artifacts: what a stage leaves behind, whole or not at all.

Layout of ``STORE/KIND/FINGERPRINT/``::

    manifest.json     written last, by one exclusive create: the commit
    ATTEMPT/...       the data files, in their natural layout
    work/             units, parts and state of an unfinished stage; gone after the commit

Two drivers that race write to different attempts; the first manifest wins.
"""

import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clusters.config import ConfigError, explain_json
from clusters.failpoints import failpoint
from clusters.files import link_or_copy, publish
from clusters.units import Units
from contracts.manifest import (
    MANIFEST_NAME,
    ExternalInput,
    FileEntry,
    Manifest,
    Parent,
    digest,
    hash_file,
)

DIRECTORY_DIGITS = 20


class ArtifactError(Exception):
    """An artifact is missing, unfinished, damaged or of another kind."""


@dataclass(frozen=True)
class Artifact:
    """A committed artifact, open for reading."""

    directory: Path
    manifest: Manifest

    @classmethod
    def open(cls, directory: Path | str, kind: str | None = None) -> "Artifact":
        """Open ``STORE/KIND/FINGERPRINT``, or the ``runs/NAME/STAGE`` that links to it.

        Raises:
            ArtifactError: no manifest, a damaged one, or another kind.
        """
        directory = Path(directory).resolve()
        if not (directory / MANIFEST_NAME).exists() and (directory.parent / MANIFEST_NAME).exists():
            directory = directory.parent  # runs/NAME/STAGE links to the data files
        path = directory / MANIFEST_NAME
        try:
            manifest = Manifest.model_validate_json(path.read_text())
        except FileNotFoundError:
            raise ArtifactError(
                f"{directory}: no {MANIFEST_NAME}, so no finished artifact; run its stage again"
            ) from None
        except ValidationError as error:
            why = explain_json(error, Manifest)
            raise ArtifactError(
                f"{path}: unreadable manifest: {why}; remove the folder and run its stage again"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{path}: unreadable manifest: {error}") from error
        if kind is not None and manifest.kind != kind:
            raise ArtifactError(f"{directory}: holds {manifest.kind!r}, expected {kind!r}")
        return cls(directory, manifest)

    @property
    def root(self) -> Path:
        """Directory in which the data files lie in their natural layout."""
        return self.directory / self.manifest.attempt

    def path(self, name: str) -> Path:
        """Path of a data file or folder by its logical name.

        Raises:
            ArtifactError: the manifest lists nothing of that name.
        """
        if not any(e.name == name or e.name.startswith(name + "/") for e in self.manifest.files):
            known = ", ".join(sorted({e.name.split("/")[0] for e in self.manifest.files}))
            raise ArtifactError(f"{self.directory}: no {name!r} in it; it has: {known}")
        return self.root / name

    def files(self, prefix: str = "") -> list[Path]:
        """Paths of the data files whose logical name starts with ``prefix``, by name."""
        names = sorted(e.name for e in self.manifest.files if e.name.startswith(prefix))
        return [self.root / name for name in names]

    def parent(self, role: str) -> Parent:
        """The artifact as a parent in a child's manifest."""
        m = self.manifest
        return Parent(role=role, kind=m.kind, fingerprint=m.fingerprint, digest=m.digest)

    def verify(self) -> list[str]:
        """Recompute every checksum; one line per problem, none when whole."""
        problems = []
        for entry in self.manifest.files:
            path = self.directory / entry.path
            if not path.is_file():
                problems.append(f"{path}: missing")
                continue
            size, checksum = hash_file(path)
            if size != entry.bytes:
                problems.append(f"{path}: {size} bytes, manifest says {entry.bytes}")
            elif checksum != entry.blake3:
                problems.append(
                    f"{path}: blake3 {checksum[:16]}, manifest says {entry.blake3[:16]}"
                )
        if digest(self.manifest.files) != self.manifest.digest:
            problems.append(f"{self.directory}: digest does not follow from the listed files")
        return problems


class ArtifactWriter:
    """One attempt at an artifact. Picklable: Ray workers write through the same handle."""

    def __init__(self, directory: Path, attempt: str) -> None:
        self.directory = directory
        self.attempt = attempt

    @classmethod
    def begin(cls, store: Path, kind: str, fingerprint: str) -> "ArtifactWriter":
        """Start a new attempt at ``store/kind/fingerprint``.

        Raises:
            ConfigError: its folder cannot be made, as where the store is a file.
        """
        directory = artifact_directory(store.absolute(), kind, fingerprint)
        writer = cls(directory, f"a{secrets.token_hex(6)}")
        try:
            (directory / writer.attempt).mkdir(parents=True)
        except OSError as error:
            raise ConfigError(
                f"store: {store}: no folder can be made in it: {error.strerror or error}; name a "
                "folder that can be written to"
            ) from error
        return writer

    @property
    def units(self) -> Units:
        """Work units of this artifact, shared by all attempts at it."""
        return Units(self.directory / "work")

    @property
    def state_dir(self) -> Path:
        """Resumable state (training checkpoints), shared by all attempts; gone at commit."""
        path = self.directory / "work" / "state"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def path(self, name: str) -> Path:
        """Where to write the data file of a logical name; its folder is made."""
        path = self.directory / self.attempt / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def commit(
        self,
        *,
        kind: str,
        stage: str,
        version: int,
        fingerprint: str,
        config: dict[str, Any],
        parents: list[Parent],
        external: list[ExternalInput],
        stats: dict[str, Any],
        seconds: float,
    ) -> Artifact:
        """Gather the files of all published units, then publish the manifest.

        Returns the artifact that stands, ours or that of a driver who was faster.
        """
        root = self.directory / self.attempt
        for record in self.units.records():
            for name, part in record.files.items():
                _link(self.directory / "work" / part, self.path(name), record.name)
        files = []
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            size, checksum = hash_file(path)
            name = path.relative_to(root).as_posix()
            relative = path.relative_to(self.directory).as_posix()
            files.append(FileEntry(name=name, path=relative, bytes=size, blake3=checksum))
        manifest = Manifest(
            kind=kind,
            stage=stage,
            version=version,
            fingerprint=fingerprint,
            digest=digest(files),
            attempt=self.attempt,
            config=config,
            parents=parents,
            external=external,
            files=files,
            stats=stats,
            seconds=round(seconds, 3),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        failpoint("artifact.before_commit")
        if not publish(self.directory / MANIFEST_NAME, manifest.model_dump_json(indent=1)):
            shutil.rmtree(root, ignore_errors=True)
        failpoint("artifact.after_commit")
        shutil.rmtree(self.directory / "work", ignore_errors=True)
        return Artifact.open(self.directory, kind)


def artifact_directory(store: Path, kind: str, fingerprint: str) -> Path:
    """``STORE/KIND/FINGERPRINT``, the fingerprint cut to 20 digits."""
    return store / kind / fingerprint[:DIRECTORY_DIGITS]


def _link(source: Path, target: Path, unit: str) -> None:
    if target.exists():
        raise ArtifactError(f"{target}: unit {unit!r} writes a file that something else wrote")
    link_or_copy(source, target)
