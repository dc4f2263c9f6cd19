"""The plan's throughput model against published scaling tables.

    python -m benchmarks.trainer.plan_validation PATH/scaling_internevo.csv

The peer is a line of two constants fitted to the same rows: the step takes its single-node
time, plus a where there is more than one node, plus b per data-parallel rank where the
optimiser state lies over all of them. Also run, without any fit: llm-foundry's table, in
``scaling_llm_foundry.csv`` beside this script. The path may come from INKSTONE_PUBLISHED.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import keep
from trainer.plan.table import Row, read_table
from trainer.plan.validate import validate

HERE = Path(__file__).parent
GOAL_MEAN, GOAL_MAX = 0.02, 0.06


def line_features(row: Row) -> list[float]:
    ranks = row.gpus / row.tensor
    return [float(row.gpus > row.cluster.gpus_per_node), ranks * (row.shard == "all")]


def line_errors(path: Path) -> np.ndarray:
    rows = read_table(path).rows
    single = {r.key: r.seconds / r.step_tokens for r in rows if r.use == "calibrate"}
    fit = [row for row in rows if row.use == "fit"]
    extra = [row.seconds - single[row.key] * row.step_tokens for row in fit]
    constants = np.linalg.lstsq(np.array([line_features(r) for r in fit]), np.array(extra))[0]
    errors = []
    for row in (row for row in rows if row.use == "predict"):
        seconds = single[row.key] * row.step_tokens + float(np.dot(line_features(row), constants))
        errors.append(abs(row.seconds / seconds - 1))
    return np.array(errors)


def main() -> None:
    given = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("INKSTONE_PUBLISHED")
    if not given:
        sys.exit("name the table: an argument, or INKSTONE_PUBLISHED (file or its folder)")
    path = Path(given)
    path = path / "scaling_internevo.csv" if path.is_dir() else path
    ours, theirs = validate(path), line_errors(path)
    other = validate(HERE / "scaling_llm_foundry.csv")
    mean, largest = ours["mean_error"], ours["max_error"]
    plain = ours["without_fitted_constants"]
    keep(
        "trainer-plan-validation",
        what="mean error of predicted tokens/GPU/s on the predict rows of InternEvo's table",
        ours=round(mean, 4),
        unit="fraction",
        peer="line of two constants",
        theirs=round(float(theirs.mean()), 4),
        ratio=round(mean / float(theirs.mean()), 3),
        goal=f"mean <= {GOAL_MEAN}, max <= {GOAL_MAX}",
        met=mean <= GOAL_MEAN and largest <= GOAL_MAX,
        max={"ours": round(largest, 4), "theirs": round(float(theirs.max()), 4)},
        without_fitted_constants=_errors(plain),
        llm_foundry_unfitted=_errors(other),
    )


def _errors(validated: dict[str, Any]) -> dict[str, float]:
    return {
        "mean": round(validated["mean_error"], 4),
        "max": round(validated["max_error"], 4),
    }


if __name__ == "__main__":
    main()
