"""Steps ``examples``, ``train`` and ``score``: the score columns of every candidate."""

from functools import partial
from pathlib import Path

from clusters.units import Unit
from corpus.config import BuildConfig
from corpus.steps import examples, read, score, train
from corpus.steps.shell import Shell
from corpus.value.classifier import MODEL_NAME
from corpus.value.config import ValueConfig
from corpus.value.report import ClassifierReport
from corpus.workspace import Workspace


def score_candidates(shell: Shell) -> list[ClassifierReport]:
    """Train the classifiers that the config asks for and score all candidates.

    Afterwards every shard has ``score/SHARD`` with ``scores.parquet``, row-aligned with its
    candidates, all columns f32.
    """
    arguments = {"work": shell.work, "config": shell.config}
    if shell.config.value.classifiers:
        shell.each_shard("examples", _collect, {**arguments, "seed": shell.seed})
        shell.once("train", partial(_train, work=shell.work, config=shell.config.value))
    shell.each_shard("score", _score, arguments)
    return _reports(shell.work, shell.config.value).classifiers


def _reports(work: Workspace, config: ValueConfig) -> train.Reports:
    if not config.classifiers:
        return train.Reports(classifiers=[])
    return train.read_reports(work.file("train/all", train.REPORT_NAME))


def _collect(unit: Unit, name: str, work: Workspace, config: BuildConfig, seed: int) -> None:
    examples.collect(
        unit,
        candidates=work.candidates_file(name),
        clusters=work.clusters(name),
        negatives=work.file(f"read/{name}", read.NEGATIVES_NAME),
        config=config.value,
        seed=seed,
    )


def _train(unit: Unit, work: Workspace, config: ValueConfig) -> None:
    train.train(unit, work.of_shards("examples", examples.EXAMPLES_NAME), config)


def _score(unit: Unit, name: str, work: Workspace, config: BuildConfig) -> None:
    folders: dict[str, Path] = {
        trained: work.file("train/all", f"{train.FOLDER}/{trained}/{MODEL_NAME}").parent
        for trained in _reports(work, config.value).trained
    }
    score.score(unit, work.candidates_file(name), folders, config.value)
