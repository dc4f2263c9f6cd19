"""Prints runs and artifacts, for people and as JSON."""

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from clusters import runs
from clusters.artifact import Artifact, ArtifactError
from clusters.doctor.finding import Finding
from clusters.gc import Garbage
from clusters.runs import to_json

_FOLLOW_SECONDS = 0.5


def show(path: Path, json: bool) -> None:
    """A run's stages, or an artifact's lineage and stats."""
    if (path / runs.RUN_NAME).exists():
        _show_run(path, json)
    else:
        _show_artifact(Artifact.open(path), json)


def verify(path: Path) -> list[str]:
    """Problems of an artifact, or of all artifacts of a run."""
    if not (path / runs.RUN_NAME).exists():
        return Artifact.open(path).verify()
    record = runs.load(path)
    problems = [
        f"{name}: {stage.status}, no artifact"
        for name, stage in record.stages.items()
        if stage.path is None
    ]
    digests: dict[str, str] = {}
    for name, artifact in runs.artifacts_of(path, record).items():
        problems += [f"{name}: {problem}" for problem in artifact.verify()]
        digests[artifact.manifest.fingerprint] = artifact.manifest.digest
    return problems + _stale_parents(path, record, digests)


def _stale_parents(path: Path, record: runs.RunRecord, digests: dict[str, str]) -> list[str]:
    """A child must have read what its parents hold now."""
    return [
        f"{name}: read {parent.kind} {parent.digest[:12]}, which is now another"
        for name, artifact in runs.artifacts_of(path, record).items()
        for parent in artifact.manifest.parents
        if digests.get(parent.fingerprint, parent.digest) != parent.digest
    ]


def _show_run(path: Path, json: bool) -> None:
    record = runs.load(path)
    if json:
        print(to_json(record.model_dump() | {"status": runs.shown_status(path, record)}))
        return
    from clusters.launch.local import print_summary

    print_summary(path, record)


def _show_artifact(artifact: Artifact, json: bool) -> None:
    manifest = artifact.manifest
    if json:
        print(to_json(manifest.model_dump() | {"directory": str(artifact.directory)}))
        return
    console = Console()
    console.print(f"[bold]{manifest.kind}[/] made by {manifest.stage} v{manifest.version}")
    console.print(f"  fingerprint {manifest.fingerprint}")
    console.print(f"  digest      {manifest.digest}")
    console.print(f"  made        {manifest.created} in {manifest.seconds:.1f} s")
    total = sum(entry.bytes for entry in manifest.files)
    console.print(f"  data        {artifact.root} ({len(manifest.files)} files, {total:,} bytes)")
    for line in lineage(artifact):
        console.print(f"  from        {line}")
    if manifest.external:
        console.print(f"  read        {len(manifest.external)} external inputs")
    console.print_json(data=manifest.stats)


def lineage(artifact: Artifact, depth: int = 0) -> list[str]:
    """Every ancestor, one line each, indented by distance."""
    lines = []
    store = artifact.directory.parent.parent
    for parent in artifact.manifest.parents:
        lines.append(f"{'  ' * depth}{parent.role}: {parent.kind} {parent.fingerprint[:20]}")
        directory = store / parent.kind / parent.fingerprint[:20]
        try:
            lines += lineage(Artifact.open(directory), depth + 1)
        except ArtifactError:
            lines.append(f"{'  ' * (depth + 1)}(no longer in the store)")
    return lines


def print_runs(root: Path, json: bool) -> None:
    """All runs, newest first."""
    records = runs.all_runs(root)
    if json:
        print(to_json([r.model_dump() | {"status": _status(root, r)} for r in records]))
        return
    table = Table()
    for column in ("run", "status", "stages done", "started", "seconds"):
        table.add_column(column)
    for record in records:
        done = sum(stage.status in ("done", "kept") for stage in record.stages.values())
        stages = f"{done}/{len(record.stages)}"
        table.add_row(
            record.name, _status(root, record), stages, record.started, f"{record.seconds:.0f}"
        )
    Console().print(table)


def _status(root: Path, record: runs.RunRecord) -> str:
    return runs.shown_status(root / record.name, record)


def print_log(directory: Path, follow: bool) -> None:
    """The driver's log; with ``follow`` until the run ends."""
    record = runs.load(directory)
    path = directory / "logs" / record.id / "driver.log"
    with open(path, encoding="utf-8") as log:
        while True:
            print(log.read(), end="", flush=True)
            if not follow or not runs.is_driven(directory):
                print(log.read(), end="", flush=True)
                return
            time.sleep(_FOLLOW_SECONDS)


def print_garbage(found: list[Garbage], json: bool) -> None:
    """What would be freed."""
    if json:
        print(to_json([{"path": g.path, "bytes": g.bytes, "why": g.why} for g in found]))
        return
    for item in found:
        print(f"{item.path}  {item.bytes:,} bytes  {item.why}")
    print(f"{len(found)} folders, {sum(item.bytes for item in found):,} bytes")


def print_findings(findings: list[Finding], json: bool) -> None:
    """What the doctor found."""
    if json:
        print(to_json([vars(finding) for finding in findings]))
        return
    colours: dict[str, Any] = {"ok": "green", "warning": "yellow", "error": "red"}
    console = Console()
    for finding in findings:
        mark = f"[{colours[finding.status]}]{finding.status:8}[/]"
        remedy = f" -> {finding.remedy}" if finding.remedy else ""
        console.print(f"{mark} {finding.check:9} {finding.found}{remedy}", highlight=False)
