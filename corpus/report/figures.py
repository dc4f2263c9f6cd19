"""What a report draws, as plain numbers; knows neither HTML nor SVG."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clusters.artifact import Artifact, ArtifactError
from corpus.ledger import LEDGER_NAME, Ledger, read_ledger
from corpus.report.samples import SAMPLES_NAME, Sample, read_samples

BINS = 40
CLUSTER_BINS = ("1", "2", "3", "4-5", "6-10", "11-100", "over 100")
_CLUSTER_EDGES = (1, 2, 3, 5, 10, 100)


@dataclass(frozen=True)
class Histogram:
    """Counts of one score column over the kept documents."""

    name: str
    low: float
    high: float
    counts: list[int]
    missing: int
    """Documents without the score."""


@dataclass(frozen=True)
class Figures:
    """All a report shows."""

    name: str
    ledger: Ledger
    samples: list[Sample]
    histograms: list[Histogram]
    clusters: dict[str, int]
    """Size of the duplicate cluster -> kept documents."""


def figures(artifact: Artifact) -> Figures:
    """Read ledger, samples and the narrow columns of the documents, part by part.

    Raises:
        ArtifactError: the ledger or the samples cannot be read.
    """
    path = artifact.path(LEDGER_NAME)
    try:
        ledger = read_ledger(path)
        samples = _samples(artifact)
    except ValueError as error:
        raise ArtifactError(f"{path.parent}: ledger or samples unreadable: {error}") from error
    parts = artifact.files("documents/")
    name = f"{artifact.directory.parent.name}/{artifact.directory.name}"
    return Figures(name, ledger, samples, _histograms(parts), _clusters(parts))


def _samples(artifact: Artifact) -> list[Sample]:
    paths = artifact.files(SAMPLES_NAME)
    return read_samples(paths[0]) if paths else []


def _histograms(parts: Sequence[Path]) -> list[Histogram]:
    """Every float column, between its least and greatest value; two passes, a part at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not parts:
        return []
    names = [f.name for f in pq.read_schema(parts[0]) if pa.types.is_floating(f.type)]
    low = dict.fromkeys(names, np.inf)
    high = dict.fromkeys(names, -np.inf)
    for part in parts:
        for name, values in _columns(part, names):
            if len(values):
                low[name] = min(low[name], float(values.min()))
                high[name] = max(high[name], float(values.max()))
    counts = {name: np.zeros(BINS, dtype=np.int64) for name in names}
    rows, found = 0, Counter[str]()
    for part in parts:
        rows += pq.read_metadata(part).num_rows
        for name, values in _columns(part, names):
            found[name] += len(values)
            if len(values):
                # Half a unit around a column that holds one value only.
                edges = (low[name], high[name]) if low[name] < high[name] else (
                    low[name] - 0.5, high[name] + 0.5)  # fmt: skip
                counts[name] += np.histogram(values, BINS, edges)[0]
    return [
        Histogram(name, low[name], high[name], counts[name].tolist(), rows - found[name])
        for name in names
        if found[name]
    ]


def _columns(part: Path, names: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """Name and finite values, f64, of each column."""
    import pyarrow.parquet as pq

    table = pq.read_table(part, columns=list(names))
    columns = []
    for name in names:
        values = table[name].drop_null().to_numpy().astype(np.float64)
        columns.append((name, values[np.isfinite(values)]))
    return columns


def _clusters(parts: Sequence[Path]) -> dict[str, int]:
    import pyarrow.parquet as pq

    counts = np.zeros(len(CLUSTER_BINS), dtype=np.int64)
    for part in parts:
        sizes = pq.read_table(part, columns=["dup_count"])["dup_count"].to_numpy()
        place = np.searchsorted(_CLUSTER_EDGES, sizes, side="left")
        counts += np.bincount(place, minlength=len(CLUSTER_BINS))
    return dict(zip(CLUSTER_BINS, counts.tolist(), strict=True))
