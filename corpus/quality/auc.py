"""Area under the ROC curve."""

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
