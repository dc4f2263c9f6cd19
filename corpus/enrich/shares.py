"""How far a corpus is from a target mixture, and what was found, by split."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa


def split_amounts(table: pa.Table) -> dict[str, list[int]]:
    """[documents, bytes] of a table FOUND, by split."""
    train = table["train"].to_numpy()
    sizes = table["bytes"].to_numpy()
    return {
        "train": [int(np.count_nonzero(train)), int(sizes[train].sum())],
        "validation": [int(np.count_nonzero(~train)), int(sizes[~train].sum())],
    }


def shortfalls(
    have: Mapping[str, int], target: Mapping[str, float], total: int | None
) -> list[dict[str, Any]]:
    """What every domain of a target has, should have and lacks, in bytes, by name.

    ``total`` is the text wanted in all; by default what there is of the target's domains.
    """
    wanted = total or sum(have.get(domain, 0) for domain in target)
    scale = sum(target.values())
    rows = []
    for domain, share in sorted(target.items()):
        goal = round(wanted * share / scale)
        held = have.get(domain, 0)
        rows.append(
            {
                "domain": domain,
                "target_share": round(share / scale, 6),
                "target_bytes": goal,
                "bytes": held,
                "short_bytes": max(goal - held, 0),
            }
        )
    return rows
