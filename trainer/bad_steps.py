"""What to do when a step's loss is no number or leaps: stop, skip the step, or rewind."""

import math
from collections import deque
from pathlib import Path
from statistics import median

import numpy as np

from clusters.stage import StageError
from trainer.config import BadStepConfig
from trainer.data.rows import Row


class TrainingDiverged(StageError):
    """The loss or the gradient is no longer a number, or leapt; a retry would do the same."""


class SpikeWatch:
    """Tells bad losses from good ones by the median of the last good ones."""

    def __init__(self, config: BadStepConfig) -> None:
        self._config = config
        self._recent: deque[float] = deque(maxlen=config.window)

    def fill(self, losses: list[float]) -> None:
        """Start again from the losses of a resumed run."""
        self._recent.clear()
        self._recent.extend(losses[-self._config.window :])

    def problem(self, loss: float, norm: float = 0.0) -> str:
        """What is wrong with a loss (nats per token) or a gradient norm, or nothing."""
        if not math.isfinite(loss):
            return f"loss {loss}"
        if not math.isfinite(norm):
            return f"gradient norm {norm}"
        limit = self._config.max_rise
        if limit is None or len(self._recent) < self._config.window:
            return ""
        usual = median(self._recent)
        if loss > usual + limit:
            return f"loss {loss:.4f}, {loss - usual:.4f} above the median of the last steps"
        return ""

    def good(self, loss: float) -> None:
        """Count a loss among the usual ones."""
        self._recent.append(loss)


def write_batch(folder: Path, step: int, rank: int, samples: list[int], rows: list[Row]) -> Path:
    """Write a rank's rows of a bad step, for whoever looks into it.

    Several batches may be bad at one step, so the file is named by the rank's first sample too.

    Returns:
        The ``.npz``: ``samples`` (rows,), ``inputs``, ``labels``, ``segments`` (rows, length).
    """
    path = folder / f"bad-step-{step:08d}-sample-{samples[0]:010d}-rank-{rank:05d}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        samples=np.asarray(samples, np.int64),
        inputs=np.stack([row.inputs for row in rows]),
        labels=np.stack([row.labels for row in rows]),
        segments=np.stack([row.segments for row in rows]),
    )
    return path
