"""The model of throughput against published tables: ``inkstone train plan --validate``."""

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainer.plan.assume import micro_sequences, row_layout
from trainer.plan.communication import Constants
from trainer.plan.fit import fit
from trainer.plan.hardware import find_gpu
from trainer.plan.table import Row, read_table
from trainer.plan.throughput import Job


@dataclass(frozen=True)
class Predicted:
    """One row with what the model says of it."""

    row: Row
    tokens: float
    """Predicted tokens per GPU per second."""

    @property
    def error(self) -> float:
        """Predicted over measured, less one: above 0 is too fast."""
        return self.tokens / self.row.measured - 1


@dataclass(frozen=True)
class Calibrated:
    """Rows of one hardware with what does not depend on the constants."""

    rows: list[Row]
    micro: dict[tuple[str, str], int]
    """Sequences per forward pass of each group, chosen at its smallest run."""

    def predict(self, constants: Constants, uses: tuple[str, ...]) -> list[Predicted]:
        """The rows with one of ``uses``, each group's compute taken from its calibration."""
        rate = self._compute_per_token(constants)
        found = []
        for row in self.rows:
            if row.use in uses:
                seconds = self._job(row, constants).step(rate[row.key] * row.step_tokens).total
                found.append(Predicted(row, row.step_tokens / seconds))
        return found

    def _job(self, row: Row, constants: Constants) -> Job:
        layout = row_layout(row, self.micro[row.key])
        return Job(row.parameters, row.layers, layout, row.cluster, constants)

    def _compute_per_token(self, constants: Constants) -> dict[tuple[str, str], float]:
        rates = defaultdict(list)
        for row in self.rows:
            if row.use == "calibrate":
                computing = computing_of(self._job(row, constants), row.seconds)
                rates[row.key].append(computing / row.step_tokens)
        return {key: float(np.mean(values)) for key, values in rates.items()}


def computing_of(job: Job, seconds: float) -> float:
    """Seconds of kernels in a step measured at ``seconds``: the inverse of ``Job.step``.

    By bisection, for a step grows with its kernels. Never under a twentieth of the step:
    where the model's communication alone is longer than the measurement, it is wrong.
    """
    low, high = 0.05 * seconds, seconds
    for _ in range(40):
        middle = (low + high) / 2
        if job.step(middle).total > seconds:
            high = middle
        else:
            low = middle
    return low


def validate(path: Path) -> dict[str, Any]:
    """Errors of the model on a published table, with and without fitted constants.

    ``rows``: every row in the file's order; ``mean_error`` and ``max_error``: of the
    ``predict`` rows' absolute errors, as fractions, None without such rows.
    """
    rows = read_table(path)
    default = Constants()
    by_hardware = defaultdict(list)
    for row in rows:
        by_hardware[row.hardware].append(row)
    fitted, plain, constants = [], [], []
    for (source, _), members in by_hardware.items():
        calibrated = Calibrated(members, _micro(members))
        uses = ("calibrate", "fit", "predict")
        chosen = fit(partial(calibrated.predict, uses=("fit",)), default)
        fitted += calibrated.predict(chosen, uses)
        plain += calibrated.predict(default, uses)
        constants.append(_constants(source, members[0], chosen, chosen != default))
    unknown = sorted({row.gpu for row in rows if find_gpu(row.gpu) is None})
    return {
        **_report(fitted),
        "without_fitted_constants": _report(plain),
        "constants": constants,
        "warnings": [f"gpu {name!r} is not known: memory and links of an A100" for name in unknown],
    }


def _micro(rows: list[Row]) -> dict[tuple[str, str], int]:
    smallest: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row.use == "calibrate" and row.gpus <= smallest.get(row.key, row).gpus:
            smallest[row.key] = row
    most = {key: max(r.step_tokens for r in rows if r.key == key) for key in smallest}
    return {
        key: micro_sequences(replace(row, step_tokens=most[key])) for key, row in smallest.items()
    }


def _report(predicted: list[Predicted]) -> dict[str, Any]:
    ordered = sorted(predicted, key=lambda item: item.row.line)
    errors = [abs(item.error) for item in ordered if item.row.use == "predict"]
    return {
        "rows": [
            {
                "line": item.row.line,
                "source": item.row.source,
                "group": item.row.group,
                "use": item.row.use,
                "gpus": item.row.gpus,
                "measured": item.row.measured,
                "predicted": round(item.tokens, 2),
                "error": round(item.error, 5),
            }
            for item in ordered
        ],
        "mean_error": float(np.mean(errors)) if errors else None,
        "max_error": float(np.max(errors)) if errors else None,
    }


def _constants(source: str, row: Row, chosen: Constants, is_fitted: bool) -> dict[str, Any]:
    return {
        "source": source,
        "gpu": row.gpu,
        "node_bandwidth_gbit_s": row.cluster.node_bandwidth * 8 / 1e9,
        "hop_us": round(chosen.hop * 1e6, 3),
        "network_share": round(chosen.network_share, 4),
        "fitted": is_fitted,
    }
