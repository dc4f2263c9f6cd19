"""Steps ``train`` and ``score``: the learned score columns of every candidate."""

from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from clusters.units import Unit
from contracts.documents import TRAIN, VALIDATION
from corpus.config import BuildConfig
from corpus.ledger import QualityReport
from corpus.steps import read, score, train
from corpus.steps.shell import Shell
from corpus.workspace import Workspace

_REPORT = "report.json"
_MODEL = "quality/model.bin"


def score_candidates(shell: Shell) -> QualityReport:
    """Train what the config asks for and score all candidates with it.

    Afterwards every shard has ``score/SHARD`` with ``scores.parquet``, row-aligned with its
    candidates, all columns f32; without a classifier the step is left out.
    """
    shell.once("train", partial(_train, shell=shell))
    text = shell.work.file("train/all", _REPORT).read_text()
    report = QualityReport.model_validate_json(text)
    if report.skipped is None:
        shell.each_shard("score", _score, {"work": shell.work, "config": shell.config})
    return report


def _train(unit: Unit, shell: Shell) -> None:
    quality = shell.config.quality
    if not quality.enabled:
        report = QualityReport(skipped="quality.enabled is false")
    else:
        model = unit.scratch(_MODEL)
        examples = unit.scratch("examples.txt")
        sets = (_examples(shell, TRAIN), _examples(shell, VALIDATION))
        report = train.train_and_measure(*sets, quality, examples, model)
        if report.skipped is None:
            unit.files[_MODEL] = unit.scratch_files[_MODEL]
    unit.scratch(_REPORT).write_text(report.model_dump_json())


def _examples(shell: Shell, split: str) -> train.Examples:
    work, quality = shell.work, shell.config.quality
    table = work.candidates(["uid", "source", "prose"])
    clusters = pa.concat_tables([pq.read_table(work.clusters(shard)) for shard in work.shards])
    rows = train.sample_rows(table, clusters, quality, split)
    negatives = work.of_shards("read", read.NEGATIVES_NAME)
    rejected = train.rejected_of_split(negatives, shell.config, shell.seed, split)
    prose = table["prose"].to_numpy()[rows].tolist()
    return train.make_examples(work.texts(rows), prose, rejected, quality, shell.seed)


def _score(unit: Unit, name: str, work: Workspace, config: BuildConfig) -> None:
    trained = work.file("train/all", _MODEL)
    score.score(unit, work.candidates_file(name), trained, config.quality)
