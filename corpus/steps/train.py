"""Step ``train``: every classifier, from the examples of all shards."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from clusters.units import Unit
from corpus.value.classifier import CALIBRATION_NAME, MODEL_NAME, fit
from corpus.value.config import ValueConfig
from corpus.value.examples import examples_of, merge
from corpus.value.report import ClassifierReport

REPORT_NAME = "classifiers.json"
FOLDER = "classifiers"


class Reports(BaseModel):
    """What training found, by classifier, in the config's order."""

    model_config = ConfigDict(extra="forbid")

    classifiers: list[ClassifierReport]

    @property
    def trained(self) -> list[str]:
        """Names of the classifiers that there are."""
        return [report.name for report in self.classifiers if report.skipped is None]


def train(unit: Unit, examples: list[Path], config: ValueConfig) -> None:
    """Train all; leaves ``classifiers/NAME/`` in the artifact and the reports in scratch.

    Raises:
        CorpusError: a training process failed, or a file of examples is broken.
    """
    table = merge(examples, config)
    reports = []
    for classifier in config.classifiers:
        name = f"{FOLDER}/{classifier.name}"
        folder = unit.scratch(f"{name}/{MODEL_NAME}").parent
        report = fit(examples_of(table, classifier), classifier, folder)
        del unit.scratch_files[f"{name}/{MODEL_NAME}"]
        if report.skipped is None:
            for file in (MODEL_NAME, CALIBRATION_NAME):
                unit.scratch(f"{name}/{file}")
                unit.files[f"{name}/{file}"] = unit.scratch_files[f"{name}/{file}"]
        reports.append(report)
    text = Reports(classifiers=reports).model_dump_json()
    unit.scratch(REPORT_NAME).write_text(text, encoding="utf-8")


def read_reports(path: Path) -> Reports:
    """What :func:`train` left."""
    return Reports.model_validate_json(path.read_text(encoding="utf-8"))
