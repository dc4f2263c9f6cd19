"""A training run's model in Hugging Face's layout: finished, or from a sharded checkpoint.

Reads only published checkpoints, whose files never change, so it may run while training
does. What training prunes in the meantime is noticed, and a newer checkpoint taken.
"""

import json
import secrets
import shutil
from pathlib import Path
from typing import Any

import torch

from clusters.artifact import Artifact, artifact_directory
from clusters.config import ConfigError
from clusters.runs import RUN_NAME
from clusters.runs import load as load_run
from contracts.manifest import MANIFEST_NAME
from trainer.checkpoint import CheckpointRecord
from trainer.checkpoint.record import problem_of, read_record
from trainer.checkpoint.shard_file import ShardReader
from trainer.convert.layouts import SHARD_BYTES
from trainer.convert.safetensors_files import Described, Planned, write_folder
from trainer.job import MODEL_NAME, TRAINER_NAME
from trainer.parallel.fragments import Fragment

_WRAPPED = "model."
"""What ``NextTokenLoss`` puts before every parameter's name."""
_KIND = "checkpoint"
_TRIES = 3


def export(
    run: Path, out: Path, step: int | None = None, shard_bytes: int = SHARD_BYTES
) -> dict[str, Any]:
    """Write the model of a run to a new folder.

    Args:
        run: ``runs/NAME``, ``runs/NAME/STAGE``, or an artifact's folder; finished or not.
        step: of a checkpoint that is kept; by default the newest.

    Returns:
        ``step``, ``samples`` and ``artifact``, as written to ``export.json`` too.

    Raises:
        ConfigError: nothing to export there, no such step, no whole checkpoint, or the
            target is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: is not empty; name a new folder")
    artifact = _artifact_of(run)
    temporary = out.parent / f".{out.name}.{secrets.token_hex(4)}"
    try:
        for attempt in range(1, _TRIES + 1):
            try:
                about = _export(artifact, temporary, step, shard_bytes)
                break
            except FileNotFoundError as error:  # pruned, or committed and cleared away
                shutil.rmtree(temporary, ignore_errors=True)
                if attempt == _TRIES:
                    raise ConfigError(
                        f"{artifact}: {error}; training removed it meanwhile: export another "
                        "step, or raise checkpoint.keep_last"
                    ) from error
        text = json.dumps(about, indent=1) + "\n"
        (temporary / "export.json").write_text(text, encoding="utf-8")
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return about


def _export(artifact: Path, out: Path, step: int | None, shard_bytes: int) -> dict[str, Any]:
    if (artifact / MANIFEST_NAME).is_file():
        return _copy_finished(Artifact.open(artifact, _KIND), out, step)
    state = artifact / "work" / "state"
    record = _record(state, step)
    if not (state / MODEL_NAME / "config.json").is_file():
        raise ConfigError(
            f"{state / MODEL_NAME}: no config.json; training writes it when it starts: start it "
            "again with the same command"
        )
    shutil.copytree(state / MODEL_NAME, out)
    reader = ShardReader([state / record.directory / name for name in record.shards])
    write_folder(out, _plan(out, reader), shard_bytes)
    return {"step": record.step, "samples": record.samples, "artifact": artifact.name}


def _copy_finished(made: Artifact, out: Path, step: int | None) -> dict[str, Any]:
    about = json.loads(made.path(TRAINER_NAME).read_text(encoding="utf-8"))
    if step not in (None, about["step"]):
        raise ConfigError(
            f"--step {step}: the run is finished and its checkpoints are gone; it has step "
            f"{about['step']}"
        )
    shutil.copytree(made.path(MODEL_NAME), out)
    return {key: about[key] for key in ("step", "samples")} | {"artifact": made.directory.name}


def _plan(folder: Path, reader: ShardReader) -> list[Planned]:
    """The model's tensors, each put together from the fp32 weights when its turn comes."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    dtype = getattr(torch, str(config.dtype).removeprefix("torch."))

    def maker(name: str, shape: tuple[int, ...]) -> Planned:
        def make() -> torch.Tensor:
            values = torch.empty(torch.Size(shape).numel())
            reader.fill([Fragment("master", _WRAPPED + name, 0, values)])
            return values.to(dtype).view(shape)

        return Planned(Described(name, shape, dtype), make)

    return [maker(name, tuple(weight.shape)) for name, weight in model.named_parameters()]


def _record(state: Path, step: int | None) -> CheckpointRecord:
    """The newest whole checkpoint, or that of a step."""
    paths = sorted(state.glob("step-*.json"), reverse=True)
    kept = [int(path.stem.removeprefix("step-")) for path in paths]
    if not paths:
        raise ConfigError(f"{state}: no checkpoint yet; training writes them by checkpoint_every")
    if step is not None and step not in kept:
        raise ConfigError(f"--step {step}: the steps kept are {', '.join(map(str, sorted(kept)))}")
    problems = []
    for path, found in zip(paths, kept, strict=True):
        if step not in (None, found):
            continue
        record = read_record(path)
        problem = problem_of(state, record)
        if not problem:
            return record
        if not path.exists():
            raise FileNotFoundError(str(path))
        problems.append(f"{path}: {problem}")
    raise ConfigError("; ".join(problems))


def _artifact_of(run: Path) -> Path:
    """The artifact's folder that a path stands for; the artifact need not be finished."""
    if (run / MANIFEST_NAME).is_file() or (run / "work" / "state").is_dir():
        return run.resolve()
    for folder, wanted in ((run, None), (run.parent, run.name)):
        if (folder / RUN_NAME).is_file():
            return _stage_of(folder, wanted)
    resolved = run.resolve().parent  # a link to the data files
    if (resolved / MANIFEST_NAME).is_file():
        return resolved
    raise ConfigError(f"{run}: no run there; give runs/NAME, runs/NAME/STAGE or an artifact")


def _stage_of(folder: Path, wanted: str | None) -> Path:
    record = load_run(folder)
    stages = {name: stage for name, stage in record.stages.items() if stage.kind == _KIND}
    if wanted is None:
        started = [name for name, stage in stages.items() if stage.fingerprint]
        if not started:
            raise ConfigError(f"{folder}: no training has started in this run")
        wanted = started[-1]
    if wanted not in stages:
        raise ConfigError(f"{folder / wanted}: no training; it has {', '.join(stages) or 'none'}")
    stage = stages[wanted]
    if stage.path is not None:
        return (folder / stage.path).resolve()
    if stage.fingerprint is None:
        raise ConfigError(f"{folder / wanted}: has not started")
    from clusters.recipe import load_plan

    store = load_plan(Path(record.recipe)).recipe.store
    found = artifact_directory(store, _KIND, stage.fingerprint)
    if not found.is_dir():
        raise ConfigError(f"{found}: not there; give the artifact's folder instead of {folder}")
    return found
