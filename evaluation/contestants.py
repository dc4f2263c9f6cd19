"""Who is evaluated: model artifacts, a unigram baseline, and the two controls."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from clusters.artifact import Artifact
from contracts.unigram import count_tokens
from evaluation.summary import ModelEntry

MODEL_FOLDER = "model"
UNIGRAM = "unigram"


@dataclass(frozen=True)
class Contestant:
    """One that answers. Picklable: Ray workers open its engine themselves."""

    entry: ModelEntry
    model_dir: Path
    """Weights and tokenizer; of a control or baseline, whose tokenizer it uses."""
    what: Literal["artifact", "oracle", "uniform", "unigram"] = "artifact"
    seed: int = 0
    """Of a uniform control's pass."""
    counts: np.ndarray | None = None
    """Of a unigram baseline: training tokens of each id, shape (vocabulary,), i64."""


def from_artifacts(models: Sequence[Artifact], base: Artifact) -> list[Contestant]:
    """The models in order and then the base, each with a label of its own."""
    chosen: dict[str, tuple[Artifact, str]] = {}
    for artifact, role in [*((model, "model") for model in models), (base, "base")]:
        chosen.setdefault(artifact.manifest.fingerprint, (artifact, role))
    names = [_short_name(artifact) for artifact, _ in chosen.values()]
    found = []
    for (artifact, role), name in zip(chosen.values(), names, strict=True):
        manifest = artifact.manifest
        label = name if names.count(name) == 1 else f"{name}-{manifest.fingerprint[:8]}"
        entry = ModelEntry(label=label, model=manifest.fingerprint, kind=manifest.kind, role=role)
        found.append(Contestant(entry, artifact.path(MODEL_FOLDER)))
    return found


def control(
    name: Literal["oracle", "uniform"], model_dir: Path, seed: int, draw: int = 1
) -> Contestant:
    """A control engine; ``draw`` counts a uniform engine's independent passes from 1."""
    label = name if draw == 1 else f"{name}-{draw}"
    entry = ModelEntry(label=label, model=label, kind="baseline", role="baseline")
    return Contestant(entry, model_dir, name, seed=seed * 1000 + draw)


def unigram(model_dir: Path, train: Path) -> Contestant:
    """Tokens at their frequency in the training store, whatever came before."""
    entry = ModelEntry(label=UNIGRAM, model=UNIGRAM, kind="baseline", role="baseline")
    return Contestant(entry, model_dir, "unigram", counts=count_tokens(train))


def _short_name(artifact: Artifact) -> str:
    manifest = artifact.manifest
    if manifest.kind != "checkpoint":
        return manifest.kind
    return manifest.stage.split(".")[-1]
