"""Every artifact a report rests on, back to the first."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clusters.artifact import Artifact, artifact_directory
from contracts.manifest import Manifest


@dataclass(frozen=True)
class Ancestor:
    """One artifact of the lineage."""

    stage: str
    kind: str
    fingerprint: str
    digest: str
    files: int
    bytes: int
    seconds: float
    """Wall time of the attempt that made it; never the same twice."""
    parents: tuple[str, ...]
    """Fingerprints of what it was made from."""


def lineage(artifacts: Iterable[Artifact]) -> list[Ancestor]:
    """The artifacts and all they were made from, parents before children, each once."""
    found: dict[str, Ancestor] = {}
    for artifact in artifacts:
        for one in _walk(artifact):
            found.setdefault(one.fingerprint, one)
    return list(found.values())


def open_parents(artifact: Artifact) -> list[Artifact]:
    """The artifacts it was made from; they lie in the same store."""
    store = artifact.directory.parent.parent
    return [
        Artifact.open(artifact_directory(store, parent.kind, parent.fingerprint), parent.kind)
        for parent in artifact.manifest.parents
    ]


def _walk(artifact: Artifact) -> Iterator[Ancestor]:
    for parent in open_parents(artifact):
        yield from _walk(parent)
    yield _ancestor(artifact.manifest)


def _ancestor(manifest: Manifest) -> Ancestor:
    return Ancestor(
        stage=manifest.stage,
        kind=manifest.kind,
        fingerprint=manifest.fingerprint,
        digest=manifest.digest,
        files=len(manifest.files),
        bytes=sum(entry.bytes for entry in manifest.files),
        seconds=manifest.seconds,
        parents=tuple(parent.fingerprint for parent in manifest.parents),
    )
