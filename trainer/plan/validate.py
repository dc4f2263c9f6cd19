"""The model of throughput against published tables: ``inkstone train plan --validate``."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainer.plan.assume import micro_sequences, row_layout, row_shape
from trainer.plan.communication import Constants
from trainer.plan.fit import fit
from trainer.plan.hardware import find_gpu
from trainer.plan.table import USES, Row, Table, read_table
from trainer.plan.throughput import RECOMPUTE_COST, Job, computing_seconds, work_per_token

_MISS = 0.25
"""Error of a calibration row, as a fraction, above which a warning names it."""


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
    micro: dict[tuple[str, str], float]
    """Tokens of a replica's forward pass in each group, chosen at its smallest run."""

    def predict(self, constants: Constants, uses: tuple[str, ...]) -> list[Predicted]:
        """The rows with one of ``uses``.

        A group's kernels take the time of its calibration, per unit of work; without one, what
        the plan itself takes for the hardware.
        """
        pace = self._pace(constants)
        found = []
        for row in self.rows:
            if row.use in uses:
                computing = work_of(row) * pace[row.key]
                seconds = self._job(row, constants).step(computing).total
                found.append(Predicted(row, row.step_tokens / seconds))
        return found

    def _job(self, row: Row, constants: Constants) -> Job:
        layout = row_layout(row, self.micro[row.key] / row.length)
        return Job(row.parameters, row.layers, layout, row.cluster, constants)

    def _pace(self, constants: Constants) -> dict[tuple[str, str], float]:
        """Seconds of kernels per unit of work, by group."""
        paces = defaultdict(list)
        for row in self.rows:
            if row.use == "calibrate":
                computing = computing_of(self._job(row, constants), row.seconds)
                paces[row.key].append(computing / work_of(row))
        found = {key: float(np.mean(values)) for key, values in paces.items()}
        for key, row in smallest_runs(self.rows).items():
            if key not in found:
                layout = self._job(row, constants).layout
                seconds = computing_seconds(row_shape(row), layout, row.cluster, row.length)
                share = row.step_tokens / layout.step_tokens(row.length)
                found[key] = seconds * share / work_of(row)
        return found


def work_of(row: Row) -> float:
    """Work of a row's step on one GPU: FLOPs, as ``throughput.work_per_token`` counts them."""
    work = work_per_token(row.parameters, row.layers, row.hidden, row.length)
    return work * RECOMPUTE_COST[row.recompute] * row.step_tokens


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
    table = read_table(path)
    default = Constants()
    by_hardware = defaultdict(list)
    for row in table.rows:
        by_hardware[row.hardware].append(row)
    micro = _micro(table.rows)
    fitted, plain, constants = [], [], []
    for (source, _), members in by_hardware.items():
        calibrated = Calibrated(members, micro)
        chosen = fit(partial(calibrated.predict, uses=("fit",)), default)
        fitted += calibrated.predict(chosen, USES)
        plain += calibrated.predict(default, USES)
        constants.append(_constants(source, members[0], chosen, chosen != default))
    return {
        **_report(fitted),
        "without_fitted_constants": _report(plain),
        "constants": constants,
        "warnings": [*_warnings(table), *_missed(table, fitted)],
    }


def smallest_runs(rows: list[Row]) -> dict[tuple[str, str], Row]:
    """Of each group the run on the fewest GPUs, a ``calibrate`` row where there is one."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        best = found.setdefault(row.key, row)
        if (row.use != "calibrate", row.gpus) < (best.use != "calibrate", best.gpus):
            found[row.key] = row
    return found


def _micro(rows: list[Row]) -> dict[tuple[str, str], float]:
    most: dict[tuple[str, str], float] = defaultdict(float)
    for row in rows:
        most[row.key] = max(most[row.key], row.step_tokens)
    return {
        key: float(row.length * micro_sequences(replace(row, step_tokens=most[key])))
        for key, row in smallest_runs(rows).items()
    }


def _warnings(table: Table) -> Iterator[str]:
    for name in sorted({row.gpu for row in table.rows if find_gpu(row.gpu) is None}):
        yield f"gpu {name!r} is not known: memory and links of an A100"
    for source, group in sorted({row.key for row in table.rows} - table.calibrated):
        yield (
            f"group {group!r} of {source!r} has no `calibrate` row: its compute time is the "
            "plan's own guess for the GPU"
        )
    if table.unused:
        yield f"columns that say nothing to the plan: {', '.join(table.unused)}"


def _missed(table: Table, predicted: list[Predicted]) -> Iterator[str]:
    """Calibration rows that are not hit themselves: no pace of the kernels explains them all."""
    for item in predicted:
        if item.row.use == "calibrate" and abs(item.error) > _MISS:
            yield (
                f"{table.path}:{item.row.line}: a `calibrate` row that is itself missed by "
                f"{item.error:+.0%}: rows of group {item.row.group!r} of {item.row.source!r} "
                "contradict each other, or its network or layout is not as the table says"
            )


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
