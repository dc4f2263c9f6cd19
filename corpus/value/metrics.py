"""How well scores tell two classes apart, and how far they are from probabilities."""

import numpy as np


def auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Probability that a positive scores above a negative, ties counting half.

    The Mann-Whitney statistic over mid-ranks. Raises ValueError where a class is empty.
    """
    if len(positives) == 0 or len(negatives) == 0:
        raise ValueError("AUC needs at least one score of each class")
    scores = np.concatenate([positives, negatives])
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mid_rank = np.cumsum(counts) - (counts - 1) / 2
    ranks = mid_rank[inverse[: len(positives)]]
    n, m = len(positives), len(negatives)
    return float((ranks.sum() - n * (n + 1) / 2) / (n * m))


def calibration_error(positives: np.ndarray, negatives: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error of probabilities in [0, 1], both classes weighing the same.

    Sum over equal-width bins of the bin's weight times |mean probability - share of positives|
    (Guo et al. 2017, arXiv:1706.04599). Raises ValueError where a class is empty.
    """
    if len(positives) == 0 or len(negatives) == 0:
        raise ValueError("calibration error needs at least one probability of each class")
    scores = np.concatenate([positives, negatives]).astype(np.float64)
    labels = np.repeat([1.0, 0.0], [len(positives), len(negatives)])
    weights = np.repeat(
        [0.5 / len(positives), 0.5 / len(negatives)], [len(positives), len(negatives)]
    )
    place = np.minimum((scores * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, weights * (scores - labels), minlength=bins)
    return float(np.abs(gaps).sum())
