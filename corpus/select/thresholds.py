"""Which documents of a batch pass, and which domain they are of."""

import numpy as np
import pyarrow as pa

from corpus.select.config import DomainsConfig, Range, Threshold


def column(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """A score column, f64, shape (rows,); nan where it has no value."""
    return np.asarray(batch[name].cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def outcomes(
    values: np.ndarray, languages: np.ndarray, sources: np.ndarray, threshold: Threshold
) -> np.ndarray:
    """``""`` for rows that pass, else ``below``, ``above`` or ``missing``; shape (rows,)."""
    low, high = _bounds(threshold, threshold, len(values))
    for places, overrides in ((languages, threshold.languages), (sources, threshold.sources)):
        for name, limits in overrides.items():
            here = places == name
            low[here], high[here] = (limit[0] for limit in _bounds(limits, limits, 1))
    result = np.full(len(values), "", object)
    with np.errstate(invalid="ignore"):
        result[values < low] = "below"
        result[values > high] = "above"
    if threshold.missing == "drop":
        result[np.isnan(values)] = "missing"
    return result


def _bounds(low: Range, high: Range, size: int) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.full(size, -np.inf if low.min is None else low.min),
        np.full(size, np.inf if high.max is None else high.max),
    )


def domains_of(batch: pa.RecordBatch, config: DomainsConfig) -> np.ndarray:
    """Domain of every row, shape (rows,)."""
    pieces = [_pieces(batch, name, config) for name in config.by]
    joined = pieces[0]
    for piece in pieces[1:]:
        joined = joined + "/" + piece
    return joined


def _pieces(batch: pa.RecordBatch, name: str, config: DomainsConfig) -> np.ndarray:
    if name in ("source", "lang"):
        return batch[name].to_numpy(zero_copy_only=False)
    edges = config.edges[name]
    names = [f"{name}<{edges[0]:g}", *(f"{name}>={edge:g}" for edge in edges)]
    values = column(batch, name)
    found = np.array(names, object)[np.searchsorted(edges, values, side="right")]
    found[np.isnan(values)] = f"{name}=none"
    return found
