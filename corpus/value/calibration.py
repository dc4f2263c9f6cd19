"""From a classifier's margins to probabilities, by a map that never falls."""

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

_ROUNDS = 100
_SMALLEST_SLOPE = 1e-3


class Calibration(BaseModel):
    """A rising map from margin to probability, for as many positives as negatives."""

    model_config = ConfigDict(extra="forbid")

    method: Literal["platt", "isotonic", "none"]
    slope: float = 1.0
    """Platt: probability = 1 / (1 + exp(-(slope * margin + offset)))."""
    offset: float = 0.0
    margins: list[float] = []
    """Isotonic: the probability at these margins; linear between them."""
    probabilities: list[float] = []

    def apply(self, margins: np.ndarray) -> np.ndarray:
        """Probabilities, f32 in [0, 1], of margins of shape (n,)."""
        wide = margins.astype(np.float64)
        if self.method == "isotonic":
            return np.interp(wide, self.margins, self.probabilities).astype(np.float32)
        return _sigmoid(self.slope * wide + self.offset).astype(np.float32)


def fit(
    positives: np.ndarray, negatives: np.ndarray, method: Literal["platt", "isotonic", "none"]
) -> Calibration:
    """Fit on margins of examples that were not trained on, both classes weighing the same.

    Platt 1999 with the smoothed targets of Lin, Lin and Weng 2007; isotonic regression by
    pooling adjacent violators (Zadrozny and Elkan 2002). Where a class is empty nothing is
    fitted: probabilities are then the classifier's own.
    """
    if method == "none" or len(positives) == 0 or len(negatives) == 0:
        return Calibration(method="none")
    if method == "platt":
        slope, offset = _platt(positives.astype(np.float64), negatives.astype(np.float64))
        return Calibration(method="platt", slope=slope, offset=offset)
    margins, values = _isotonic(positives.astype(np.float64), negatives.astype(np.float64))
    return Calibration(method="isotonic", margins=margins, probabilities=values)


def _platt(positives: np.ndarray, negatives: np.ndarray) -> tuple[float, float]:
    """Slope and offset by Newton's method with halved steps; the slope stays above zero."""
    margins = np.concatenate([positives, negatives])
    targets = np.repeat(
        [(len(positives) + 1) / (len(positives) + 2), 1 / (len(negatives) + 2)],
        [len(positives), len(negatives)],
    )
    weights = _balanced(len(positives), len(negatives))
    design = np.stack([margins, np.ones_like(margins)], axis=1)
    parameters = np.array([1.0, 0.0])
    loss = _loss(parameters, design, targets, weights)
    for _ in range(_ROUNDS):
        probabilities = _sigmoid(design @ parameters)
        gradient = design.T @ (weights * (probabilities - targets))
        curvature = (design.T * (weights * probabilities * (1 - probabilities))) @ design
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
        size = 1.0
        while (better := _loss(parameters - size * step, design, targets, weights)) > loss:
            size /= 2
            if size < 1e-8:
                return max(float(parameters[0]), _SMALLEST_SLOPE), float(parameters[1])
        parameters = parameters - size * step
        if loss - better < 1e-12:
            break
        loss = better
    return max(float(parameters[0]), _SMALLEST_SLOPE), float(parameters[1])


def _loss(
    parameters: np.ndarray, design: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> float:
    logits = design @ parameters
    return float(np.sum(weights * (np.logaddexp(0, logits) - targets * logits)))


def _isotonic(positives: np.ndarray, negatives: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean margin and value of every pooled block, in rising order."""
    margins = np.concatenate([positives, negatives])
    labels = np.repeat([1.0, 0.0], [len(positives), len(negatives)])
    weights = _balanced(len(positives), len(negatives))
    order = np.argsort(margins, kind="stable")
    blocks: list[list[float]] = []  # weight, weighted label, weighted margin
    last = None
    for place in order.tolist():
        weight = float(weights[place])
        entry = [weight, weight * float(labels[place]), weight * float(margins[place])]
        if margins[place] == last:
            blocks[-1] = _pooled(blocks[-1], entry)
        else:
            blocks.append(entry)
        last = margins[place]
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][0] >= blocks[-1][1] * blocks[-2][0]:
            blocks[-2:] = [_pooled(blocks[-2], blocks[-1])]
    return [b[2] / b[0] for b in blocks], [min(b[1] / b[0], 1.0) for b in blocks]


def _pooled(one: list[float], other: list[float]) -> list[float]:
    return [a + b for a, b in zip(one, other, strict=True)]


def _balanced(positives: int, negatives: int) -> np.ndarray:
    return np.repeat([0.5 / positives, 0.5 / negatives], [positives, negatives])


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(values / 2))
