"""Which documents a training step was taken on, proved by the step's own checksum."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clusters.artifact import Artifact, artifact_directory
from clusters.config import ConfigError
from clusters.stage import StageError
from contracts.documents import TRAIN
from contracts.manifest import MANIFEST_NAME
from trainer.config import PretrainConfig
from trainer.logged import chosen_batch, logged_step

_RUN_NAME = "run.json"
_STAGE = "trainer.pretrain"


@dataclass(frozen=True)
class TracedDocument:
    """A document of a step; what the corpus says of it is null where there is no corpus."""

    uid: int
    tokens: int
    """Of it among the step's inputs."""
    domain: str
    samples: list[int]
    about: dict[str, Any] | None
    """Its row in the corpus without the text: id, url, source, language, scores."""


@dataclass(frozen=True)
class Trace:
    """A step, and what it was taken on."""

    step: int
    samples: list[int]
    loss: float | None
    """None where it is not finite."""
    grad_norm: float | None
    """None where the gradient overflowed, or was not taken."""
    proved: bool
    """The token store's samples have the checksum that training noted."""
    documents: list[TracedDocument]
    corpus: dict[str, Any] | None
    """Fingerprint of the corpus and the config whose rules kept its documents."""
    applied: bool = True
    """No bad step, whose update is left out."""
    left_out: int = 0
    """Batches that were left out when this step was tried."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def trace(path: Path, step: int, left_out: int | None = None) -> Trace:
    """Trace a step of a pretraining run.

    Args:
        path: a checkpoint artifact, ``runs/NAME/STAGE``, or ``runs/NAME``, finished or not.
        step: 1-based, as in ``metrics.jsonl``.
        left_out: not what was trained, but which batch, from 1, was left out as a bad step.

    Raises:
        ConfigError: no pretraining there, or no such step.
    """
    unfinished = None if _is_finished(path) else logged_step(path, step, left_out)
    if unfinished is not None:
        tokens, config, seed = Artifact.open(unfinished.tokens), unfinished.config, unfinished.seed
        line, samples, bad = unfinished.line, unfinished.samples, unfinished.left_out
    else:
        made = _checkpoint(path)
        line, samples, bad = _samples_of(made, step, left_out)
        config = PretrainConfig.model_validate(made.manifest.config["config"])
        tokens, seed = _parent(made, "tokens"), made.manifest.config["seed"]
    found, checksum = _documents(tokens, config, seed, samples)
    corpus = _parent(tokens, "corpus") if _has_parent(tokens, "corpus") else None
    about = _rows(corpus, [d.uid for d in found]) if corpus else {}
    return Trace(
        step=step,
        samples=samples,
        loss=line["loss"],
        grad_norm=line["grad_norm"],
        applied=line.get("event") != "bad_step",
        left_out=bad,
        proved=checksum == line["data"],
        documents=[TracedDocument(**{**vars(d), "about": about.get(d.uid)}) for d in found],
        corpus=_origin(corpus) if corpus else None,
    )


def _is_finished(path: Path) -> bool:
    if (path / _RUN_NAME).is_file():
        stages = json.loads((path / _RUN_NAME).read_text(encoding="utf-8"))["stages"]
        ours = [name for name, stage in stages.items() if stage["stage"] == _STAGE]
        return all(stages[name]["status"] in ("done", "kept") for name in ours)
    return path.exists() or not (path.parent / _RUN_NAME).is_file()


def _origin(corpus: Artifact) -> dict[str, Any]:
    manifest = corpus.manifest
    return {"fingerprint": manifest.fingerprint, "stage": manifest.stage, **manifest.config}


def _checkpoint(path: Path) -> Artifact:
    if (path / _RUN_NAME).is_file():
        stages = json.loads((path / _RUN_NAME).read_text(encoding="utf-8"))["stages"]
        names = [name for name, stage in stages.items() if stage["stage"] == _STAGE]
        if len(names) != 1:
            raise ConfigError(
                f"{path}: {len(names)} stages of kind {_STAGE}; name one, as {path}/STAGE"
            )
        path = path / names[0]
    folders = (path, path.resolve().parent)  # runs/NAME/STAGE links to the data files
    if not any((folder / MANIFEST_NAME).is_file() for folder in folders):
        raise ConfigError(f"{path}: no finished checkpoint; give runs/NAME or runs/NAME/STAGE")
    made = Artifact.open(path)
    if made.manifest.stage != _STAGE:
        raise ConfigError(f"{path}: made by {made.manifest.stage}; only {_STAGE} can be traced")
    return made


def _samples_of(
    made: Artifact, step: int, left_out: int | None
) -> tuple[dict[str, Any], list[int], int]:
    """The step's line in the metrics, the samples between the cursors around it, and how many
    batches were left out there.
    """
    text = made.path("metrics.jsonl").read_text(encoding="utf-8")
    entries = [json.loads(line) for line in text.splitlines()]
    bad = [entry for entry in entries if "left_out" in entry and entry["step"] == step]
    if left_out is not None:
        chosen = chosen_batch(bad, step, left_out)
        line = {"event": "bad_step", "loss": chosen["bad_loss"], "grad_norm": None}
        return {**line, "data": chosen["data"]}, chosen["left_out"], len(bad)
    by_step = {line["step"]: line for line in entries if "loss" in line}
    if step not in by_step:
        raise ConfigError(f"--step {step}: the run has steps 1 to {len(by_step)}")
    first = by_step[step - 1]["samples"] if step > 1 else 0
    ranges = json.loads(made.path("trainer.json").read_text(encoding="utf-8"))["skipped"]
    skipped = {k for start, count in ranges for k in range(start, start + count)}
    samples = [k for k in range(first, by_step[step]["samples"]) if k not in skipped]
    return by_step[step], samples, len(bad)


def _documents(
    tokens: Artifact, config: PretrainConfig, seed: int, samples: list[int]
) -> tuple[list[TracedDocument], int]:
    """The documents of the samples, most tokens first, and the checksum of the rows."""
    from corpus.token_store import TokenStore
    from trainer.data.tokens import TokenRows
    from trainer.step import checksum_of

    rows = TokenRows(
        TokenStore.open(tokens.path("tokens") / TRAIN),
        None,
        sequence_length=config.sequence_length,
        seed=seed,
        validation_rows=1,
        schedule=config.data.schedule,
    )
    counts: Counter[tuple[int, str]] = Counter()
    seen: dict[tuple[int, str], list[int]] = {}
    for k in samples:
        sample = rows.sample(k)
        lengths = (sample.cu_seqlens[1:] - sample.cu_seqlens[:-1]).tolist()
        for uid, length in zip(sample.uids.tolist(), lengths, strict=True):
            key = (uid, sample.location.domain)
            counts[key] += length
            seen.setdefault(key, []).append(k)
    found = [
        TracedDocument(uid, count, domain, sorted(set(seen[uid, domain])), None)
        for (uid, domain), count in counts.most_common()
    ]
    return found, checksum_of(samples, [rows.row(k) for k in samples])


def _rows(corpus: Artifact, uids: list[int]) -> dict[int, dict[str, Any]]:
    """What the corpus says of documents: their rows without the text, by uid."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = pc.field("uid").isin(pa.array(uids, pa.uint64()))  # as a list they would be int64
    found: dict[int, dict[str, Any]] = {}
    for path in corpus.files("documents/"):
        columns = [name for name in pq.read_schema(path).names if name != "text"]
        table = pq.read_table(path, columns=columns, filters=wanted)
        found.update({row["uid"]: row for row in table.to_pylist()})
    return found


def _has_parent(artifact: Artifact, role: str) -> bool:
    return any(parent.role == role for parent in artifact.manifest.parents)


def _parent(artifact: Artifact, role: str) -> Artifact:
    parents = [p for p in artifact.manifest.parents if p.role == role]
    if not parents:
        raise StageError(f"{artifact.directory}: its manifest names no parent {role!r}")
    store = artifact.directory.parent.parent
    return Artifact.open(artifact_directory(store, parents[0].kind, parents[0].fingerprint))
