"""Runs one stage to a committed artifact, or finds the one that is already there."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clusters.artifact import Artifact, ArtifactWriter, artifact_directory
from clusters.config import StageConfig, identity
from clusters.progress import Progress
from clusters.stage import Stage, StageContext
from contracts.manifest import MANIFEST_NAME, ExternalInput, Parent, fingerprint

Inputs = Mapping[str, list[Artifact]]


def parents_of(inputs: Inputs) -> list[Parent]:
    """The inputs as manifest parents, in a stable order."""
    return [artifact.parent(role) for role in sorted(inputs) for artifact in inputs[role]]


def fingerprint_of(
    stage: Stage,
    config: StageConfig,
    inputs: Inputs,
    external: list[ExternalInput],
    seed: int,
) -> str:
    """What is asked of the stage."""
    asked = {"config": identity(config), "seed": seed}
    return fingerprint(stage.name, stage.version, asked, parents_of(inputs), external)


def find(stage: Stage, store: Path, wanted: str) -> Artifact | None:
    """The finished artifact of that fingerprint, or None."""
    directory = artifact_directory(store, stage.output, wanted)
    if not (directory / MANIFEST_NAME).exists():
        return None
    return Artifact.open(directory, stage.output)


def execute(
    stage: Stage,
    config: StageConfig,
    inputs: Inputs,
    external: list[ExternalInput],
    *,
    store: Path,
    wanted: str,
    seed: int,
    run: str,
    name: str,
    log_dir: Path,
    scores_url: str,
    progress: Progress | None = None,
) -> Artifact:
    """Run the stage and commit what it made; a faster driver's result is taken instead."""
    started = time.monotonic()
    out = ArtifactWriter.begin(store, stage.output, wanted)
    log_dir.mkdir(parents=True, exist_ok=True)
    context = StageContext(
        config=config,
        inputs=inputs,
        out=out,
        progress=progress or Progress(sys.stderr),
        seed=seed,
        run=run,
        name=name,
        log_dir=log_dir,
        scores_url=scores_url,
    )
    try:
        stats: dict[str, Any] = stage.run(context)
        return out.commit(
            kind=stage.output,
            stage=stage.name,
            version=stage.version,
            fingerprint=wanted,
            config={"config": identity(config), "seed": seed},
            parents=parents_of(inputs),
            external=external,
            stats=stats,
            seconds=time.monotonic() - started,
        )
    except Exception:  # a faster driver may have committed and cleared the work away
        winner = find(stage, store, wanted)
        if winner is None:
            raise
        return winner


def run_stage(
    stage: Stage,
    config: StageConfig,
    inputs: Inputs | None = None,
    *,
    store: Path,
    seed: int = 0,
    name: str = "stage",
) -> Artifact:
    """Run one stage by itself, without a recipe: for notebooks and tests."""
    inputs = inputs or {}
    external = stage.external(config)
    wanted = fingerprint_of(stage, config, inputs, external, seed)
    return find(stage, store, wanted) or execute(
        stage,
        config,
        inputs,
        external,
        store=store,
        wanted=wanted,
        seed=seed,
        run="alone",
        name=name,
        log_dir=store / "logs" / name,
        scores_url=f"sqlite:///{(store / 'scores.db').absolute()}",
    )
