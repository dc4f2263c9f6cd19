"""Exchange files: records grouped by target, and beside them where each group ends."""

from pathlib import Path

import numpy as np


def write_grouped(path: Path, to: np.ndarray, records: np.ndarray, targets: int) -> None:
    """Write records grouped by target, in their own order within a group.

    Args:
        path: the file; ``PATH.ends`` gets the u64 record number at which each group ends.
        to: target of each record, shape (records,).
        records: structured array, shape (records,).
        targets: number of targets.
    """
    if targets > 1:
        order = np.argsort(to, kind="stable")
        records = records[order]
    ends = np.cumsum(np.bincount(to, minlength=targets)).astype("<u8")
    path.write_bytes(np.ascontiguousarray(records).tobytes())
    ends_file(path).write_bytes(ends.tobytes())


def ends_file(path: Path) -> Path:
    """The file of group ends beside an exchange file."""
    return path.with_name(path.name + ".ends")


def read_group(path: Path, target: int, dtype: np.dtype) -> np.ndarray:
    """The records of one target.

    Raises:
        OSError: the file is missing or shorter than its ends say.
    """
    start, end = 0, 0
    with ends_file(path).open("rb") as ends:
        ends.seek(8 * max(target - 1, 0))
        found = np.frombuffer(ends.read(8 if target == 0 else 16), "<u8").tolist()
        start, end = (0, found[0]) if target == 0 else found
    records = np.fromfile(path, dtype, count=end - start, offset=start * dtype.itemsize)
    if len(records) != end - start:
        raise OSError(f"{path}: {len(records)} records for target {target}, not {end - start}")
    return records
