"""A bench as a picture: how long tokens took, and how many came when."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clusters.config import ConfigError
from serving.bench.drive import Record
from serving.bench.summary import first_waits, token_gaps

_BINS = 40


def check_plot(path: Path) -> None:
    """Refuse a picture's file before anything is measured.

    Raises:
        ConfigError: no format has its ending.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix and path.suffix[1:].lower() not in known:
        raise ConfigError(f"--plot {path}: no such format; there are {', '.join(sorted(known))}")


def draw(records: Sequence[Record], title: str, path: Path) -> None:
    """Write the picture; the file's ending says the format.

    Raises:
        ConfigError: it cannot be written there, or in that format.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (waits, flow) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    _distribution(waits, [r for r in records if not r.error])
    _flow(flow, records)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--plot {path}: {error}") from None
    finally:
        plt.close(figure)


def _distribution(axes: Any, records: Sequence[Record]) -> None:
    for label, seconds in (
        ("time to first token", first_waits(records)),
        ("between tokens", token_gaps(records)),
    ):
        if seconds:
            times = np.sort(np.asarray(seconds)) * 1e3
            axes.step(times, np.arange(1, len(times) + 1) / len(times), where="post", label=label)
    axes.set_xscale("log")
    axes.set_xlabel("ms")
    axes.set_ylabel("share that took no longer")
    axes.set_ylim(0, 1.02)
    axes.legend(loc="upper left")


def _flow(axes: Any, records: Sequence[Record]) -> None:
    arrivals = [pair for record in records for pair in record.arrivals]
    if arrivals:
        times, tokens = np.asarray(arrivals).T
        counts, edges = np.histogram(times, bins=_BINS, weights=tokens)
        axes.stairs(counts / np.diff(edges), edges)
    axes.set_xlabel("seconds")
    axes.set_ylabel("new tokens per second")
    axes.set_ylim(bottom=0)
