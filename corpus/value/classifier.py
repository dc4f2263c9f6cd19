"""One trained and calibrated classifier: how it is made, measured, kept and applied."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from blake3 import blake3

from corpus.value import model
from corpus.value.calibration import Calibration
from corpus.value.calibration import fit as fit_calibration
from corpus.value.config import ClassifierConfig, FastTextConfig
from corpus.value.features import classifier_text
from corpus.value.metrics import auc, calibration_error
from corpus.value.report import ClassifierReport

MODEL_NAME = "model.bin"
CALIBRATION_NAME = "calibration.json"


class Example(NamedTuple):
    """One example, as the classifier reads it."""

    order: int
    """u64 hash of its identity: its place in a shuffled order."""
    source: str
    text: str
    held: bool
    """Held out: never trained or calibrated on."""


Examples = tuple[Sequence[Example], Sequence[Example]]
"""(positives, negatives)."""


@dataclass(frozen=True)
class Classifier:
    """Scores texts. Made by :func:`fit`, kept in a folder."""

    trained: Any
    calibration: Calibration
    max_chars: int

    @classmethod
    def load(cls, folder: Path, max_chars: int) -> "Classifier":
        """Read what :func:`fit` left in a folder."""
        text = (folder / CALIBRATION_NAME).read_text(encoding="utf-8")
        trained = model.load(folder / MODEL_NAME)
        return cls(trained, Calibration.model_validate_json(text), max_chars)

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Probability of the positive class, f32 in [0, 1], shape (texts,)."""
        return self.calibration.apply(self.margins(texts))

    def margins(self, texts: Sequence[str]) -> np.ndarray:
        """Log odds before calibration, f64, shape (texts,)."""
        read = [classifier_text(text, self.max_chars) for text in texts]
        return model.margins(self.trained, read)


def fit(examples: Examples, config: ClassifierConfig, folder: Path) -> ClassifierReport:
    """Train, calibrate and measure; leaves model and calibration in ``folder``.

    Nothing is left there where the report says ``skipped``.
    """
    train, calibrate, held = _parts(examples, config)
    report = ClassifierReport(
        name=config.name,
        train_positives=len(train[0]),
        train_negatives=len(train[1]),
        calibration_positives=len(calibrate[0]),
        calibration_negatives=len(calibrate[1]),
        heldout_positives=len(held[0]),
        heldout_negatives=len(held[1]),
    )
    if min(len(train[0]), len(train[1])) < config.min_examples:
        report.skipped = (
            f"{len(train[0])} positive and {len(train[1])} negative examples; "
            f"min_examples asks for {config.min_examples} of each"
        )
        return report
    folder.mkdir(parents=True, exist_ok=True)
    trained = _train(train, config, folder / MODEL_NAME)
    calibration = fit_calibration(*_margins(trained, calibrate), config.calibration)
    (folder / CALIBRATION_NAME).write_text(calibration.model_dump_json() + "\n", encoding="utf-8")
    report.calibration = calibration.method
    _measure(report, trained, calibration, held)
    if config.source_check:
        _check_sources(report, train, held, config, folder / "check")
    return report


def _measure(
    report: ClassifierReport, trained: Any, calibration: Calibration, held: Examples
) -> None:
    if not held[0] or not held[1]:
        return
    good, bad = _margins(trained, held)
    own = Calibration(method="none")
    report.heldout_auc = auc(good, bad)
    report.heldout_calibration_error = calibration_error(
        calibration.apply(good), calibration.apply(bad)
    )
    report.uncalibrated_error = calibration_error(own.apply(good), own.apply(bad))


def _check_sources(
    report: ClassifierReport,
    train: Examples,
    held: Examples,
    config: ClassifierConfig,
    folder: Path,
) -> None:
    """Measure on sources that a second model was not trained on."""
    sources = sorted({example.source for example in train[0]}, key=_source_order)
    left_out = set(sources[: len(sources) // 2])
    kept = [example for example in train[0] if example.source not in left_out]
    others = [example for example in train[1] if example.source not in left_out]
    unseen = [e for e in (*train[0], *held[0]) if e.source in left_out]
    if not unseen or not held[1] or min(len(kept), len(others)) < config.min_examples:
        return
    folder.mkdir(parents=True, exist_ok=True)
    trained = _train((kept, others), config, folder / MODEL_NAME)
    report.left_out_sources = sorted(left_out)
    report.left_out_auc = auc(*_margins(trained, (unseen, held[1])))
    shutil.rmtree(folder)


def _source_order(source: str) -> bytes:
    return blake3(source.encode("utf-8", "surrogatepass")).digest(8)


def _train(examples: Examples, config: FastTextConfig, path: Path) -> Any:
    positives, negatives = ([e.text for e in pile] for pile in examples)
    model.train(positives, negatives, path, config)
    return model.load(path)


def _margins(trained: Any, examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    good, bad = (model.margins(trained, [e.text for e in pile]) for pile in examples)
    return good, bad


def _parts(examples: Examples, config: FastTextConfig) -> tuple[Examples, Examples, Examples]:
    """(to train on, to calibrate on, held out)."""
    limit = int(config.calibration_share * 2**32)
    train, calibrate, held = ([], []), ([], []), ([], [])  # type: tuple, tuple, tuple
    for side, pile in enumerate(examples):
        for example in pile:
            # The low bits: the high ones decided which examples are here at all.
            chosen = calibrate if example.order % 2**32 < limit else train
            (held if example.held else chosen)[side].append(example)
    return train, calibrate, held
