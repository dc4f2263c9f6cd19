"""Run records: ``runs/NAME/run.json`` points to the artifacts of a run.

``runs/NAME/STAGE`` links to a stage's data files, so that paths are easy to type.
"""

import contextlib
import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

from pydantic import BaseModel, ConfigDict, ValidationError

from clusters.artifact import Artifact, ArtifactError
from clusters.config import ConfigError
from clusters.files import replace_json

RUN_NAME = "run.json"
LOCK_NAME = ".driver"


class StageRecord(BaseModel):
    """What a run knows of one of its stages."""

    model_config = ConfigDict(extra="forbid")

    stage: str
    kind: str
    status: Literal["waiting", "running", "done", "kept", "failed"]
    fingerprint: str | None = None
    digest: str | None = None
    path: str | None = None
    """Artifact directory, relative to the run's folder."""
    seconds: float | None = None
    """Wall time of making the artifact, when it was made."""
    inputs: dict[str, int | float] = {}
    outputs: dict[str, int | float] = {}
    error: str | None = None


class RunRecord(BaseModel):
    """Contents of ``run.json``."""

    model_config = ConfigDict(extra="forbid")

    name: str
    id: str
    """Of the latest invocation; its logs lie in ``logs/ID``."""
    recipe: str
    status: Literal["running", "finished", "failed", "stopped"]
    started: str
    seconds: float = 0.0
    host: str
    pid: int
    job: str | None = None
    """Ray job submission id, where the driver runs as a job."""
    stages: dict[str, StageRecord] = {}


def new_record(name: str, recipe: Path, job: str | None) -> RunRecord:
    """Record of an invocation that starts now, in this process."""
    now = datetime.now(UTC)
    return RunRecord(
        name=name,
        id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        recipe=str(recipe),
        status="running",
        started=now.isoformat(timespec="seconds"),
        host=socket.gethostname(),
        pid=os.getpid(),
        job=job,
    )


@contextlib.contextmanager
def driving(directory: Path) -> Iterator[None]:
    """Be the one driver of a run while the block runs. The system ends it with the process.

    Raises:
        ConfigError: another process drives it, or its folder cannot be written to.
    """
    with _lock_file(directory) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"run {directory.name!r} is running; wait for it, or end it with: "
                f"inkstone stop {directory.name}"
            ) from None
        yield


def _lock_file(directory: Path) -> TextIO:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return open(directory / LOCK_NAME, "w", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{directory}: the run cannot be written there: {error.strerror or error}; start it "
            "from a folder that can be written to"
        ) from error


def is_driven(directory: Path) -> bool:
    """True while a process drives the run."""
    try:
        with open(directory / LOCK_NAME, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def shown_status(directory: Path, record: RunRecord) -> str:
    """The status; a run that says running and that nobody drives was killed."""
    return "killed" if record.status == "running" and not is_driven(directory) else record.status


def save(directory: Path, record: RunRecord) -> None:
    """Write ``run.json`` in one step.

    Raises:
        ArtifactError: it cannot be written, e.g. on a full disk.
    """
    path = directory / RUN_NAME
    try:
        replace_json(path, record.model_dump())
    except OSError as error:
        raise ArtifactError(
            f"{path}: cannot be written: {error}; make room or mend the folder, then give the "
            "same command again"
        ) from error


def load(directory: Path) -> RunRecord:
    """Read a run's record.

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    path = directory / RUN_NAME
    try:
        return RunRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(p.parent.name for p in directory.parent.glob(f"*/{RUN_NAME}")))
        raise ArtifactError(
            f"{directory}: no run there; runs of {directory.parent}: {known or 'none'}"
        ) from None
    except ValidationError as error:
        raise ArtifactError(f"{path}: damaged run record: {error}") from error


def all_runs(root: Path) -> list[RunRecord]:
    """Every run recorded below ``root``, newest first.

    Raises:
        ArtifactError: a record is damaged.
    """
    found = [load(path.parent) for path in root.glob(f"*/{RUN_NAME}")]
    return sorted(found, key=lambda record: record.started, reverse=True)


def artifacts_of(directory: Path, record: RunRecord) -> dict[str, Artifact]:
    """The finished artifacts of a run, by stage name."""
    return {
        name: Artifact.open(directory / stage.path)
        for name, stage in record.stages.items()
        if stage.path is not None
    }


def link(directory: Path, name: str, artifact: Artifact) -> None:
    """Point ``runs/NAME/STAGE`` at the artifact's data files."""
    path = directory / name
    temporary = directory / f".{name}.{secrets.token_hex(4)}"
    temporary.symlink_to(os.path.relpath(artifact.root, directory))
    os.replace(temporary, path)


def counts(stats: dict[str, Any], side: str) -> dict[str, int | float]:
    """The numbers under ``stats["in"]`` or ``stats["out"]``."""
    part = stats.get(side, {})
    return {k: v for k, v in part.items() if isinstance(v, int | float)}


def to_json(value: Any) -> str:
    """Indented JSON for ``--json``."""
    return json.dumps(value, indent=1, ensure_ascii=False, default=str)
