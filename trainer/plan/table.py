"""Published throughput tables: reading them, and saying what is wrong in them."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from clusters.config import ConfigError
from trainer.plan.cells import Cells
from trainer.plan.hardware import GB, UNKNOWN_GPU, Cluster, find_gpu
from trainer.plan.layout import RECOMPUTE, Recompute

USES = ("calibrate", "fit", "predict")
COLUMNS = (
    "source",
    "group",
    "use",
    "model",
    "parameters",
    "layers",
    "hidden",
    "seq_len",
    "gpu",
    "gpus_per_node",
    "node_bandwidth_gbit_s",
    "tensor_parallel",
    "optimizer_shard",
    "recompute",
    "tokens_per_gpu_per_step",
    "gpus",
    "tokens_per_gpu_per_second",
)


@dataclass(frozen=True)
class Row:
    """One measured run of a published table."""

    line: int
    source: str
    group: str
    use: str
    model: str
    parameters: float
    layers: int
    hidden: int
    length: int
    gpu: str
    cluster: Cluster
    tensor: int
    shard: str
    recompute: Recompute
    step_tokens: float
    gpus: int
    measured: float
    """Tokens per GPU per second."""

    @property
    def key(self) -> tuple[str, str]:
        """Rows of one key share one calibration."""
        return self.source, self.group

    @property
    def hardware(self) -> tuple[str, Cluster]:
        """Rows of one hardware share fitted constants."""
        return self.source, self.cluster

    @property
    def seconds(self) -> float:
        """Measured seconds of a step."""
        return self.step_tokens / self.measured


@dataclass(frozen=True)
class Table:
    """The rows of a file, and its columns that say nothing to the plan."""

    path: Path
    rows: list[Row]
    unused: list[str]

    @property
    def calibrated(self) -> set[tuple[str, str]]:
        """Keys of the groups that have a ``calibrate`` row."""
        return {row.key for row in self.rows if row.use == "calibrate"}


def read_table(path: Path) -> Table:
    """A published table: commas, a header with :data:`COLUMNS` in any order, UTF-8.

    Empty lines and lines that begin with ``#`` are passed over.

    Raises:
        ConfigError: naming file, line and column of the first thing wrong.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            filled = ((lines.line_num, cells) for cells in lines if _says_something(cells))
            header = _header(path, filled)
            rows = [_row(_cells(path, line, header, cells)) for line, cells in filled]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: not a CSV file in UTF-8: {error}") from None
    if not rows:
        raise ConfigError(f"{path}:2: no rows below the header")
    table = Table(path, rows, [name for name in header if name and name not in COLUMNS])
    _check_unknown(table)
    return table


def _says_something(cells: list[str]) -> bool:
    return any(cell.strip() for cell in cells) and not cells[0].lstrip().startswith("#")


def _header(path: Path, filled: Iterator[tuple[int, list[str]]]) -> list[str]:
    line, cells = next(filled, (1, []))
    header = [cell.strip().lower() for cell in cells]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        only = "; columns are separated by commas" if len(header) < 2 else ""
        raise ConfigError(f"{path}:{line}: missing column {', '.join(missing)}{only}")
    twice = [name for name in COLUMNS if header.count(name) > 1]
    if twice:
        raise ConfigError(f"{path}:{line}: column {twice[0]} is there twice; remove one")
    return header


def _cells(path: Path, line: int, header: list[str], cells: list[str]) -> Cells:
    if len(cells) > len(header):
        raise ConfigError(
            f"{path}:{line}: {len(cells)} cells in {len(header)} columns; quote a cell that has a "
            "comma in it"
        )
    padded = cells + [""] * (len(header) - len(cells))
    return Cells(path, line, dict(zip(header, padded, strict=True)))


def _row(read: Cells) -> Row:
    row = Row(
        line=read.line,
        source=read.text("source"),
        group=read.text("group"),
        use=read.one_of("use", USES),
        model=read.text("model"),
        parameters=read.number("parameters"),
        layers=read.whole("layers"),
        hidden=read.whole("hidden"),
        length=read.whole("seq_len"),
        gpu=read.text("gpu"),
        cluster=_cluster(read),
        tensor=read.whole("tensor_parallel"),
        shard=_shard(read),
        recompute=cast(Recompute, read.one_of("recompute", RECOMPUTE)),
        step_tokens=read.number("tokens_per_gpu_per_step"),
        gpus=read.whole("gpus"),
        measured=read.number("tokens_per_gpu_per_second"),
    )
    if row.gpus % row.tensor:
        raise read.fail("tensor_parallel", f"{row.tensor} does not divide {row.gpus} gpus")
    if row.shard.isdigit() and (row.gpus // row.tensor) % int(row.shard):
        ranks = row.gpus // row.tensor
        raise read.fail("optimizer_shard", f"{row.shard} does not divide {ranks} data ranks")
    return row


def _shard(read: Cells) -> str:
    value = read.text("optimizer_shard").lower()
    if value in ("all", "fsdp", "ddp") or (value.isdecimal() and int(value) > 0):
        return value
    raise read.fail("optimizer_shard", f"unknown layout {value!r}; known: all, fsdp, ddp, a number")


def _cluster(read: Cells) -> Cluster:
    gpu = find_gpu(read.text("gpu")) or UNKNOWN_GPU
    bandwidth = read.number("node_bandwidth_gbit_s") * GB / 8
    return Cluster(gpu, read.whole("gpus_per_node"), bandwidth)


def _check_unknown(table: Table) -> None:
    """Refuse what nothing says the speed of: an unknown GPU in a group without calibration."""
    for row in table.rows:
        if row.key not in table.calibrated and find_gpu(row.gpu) is None:
            raise ConfigError(
                f"{table.path}:{row.line}: gpu: {row.gpu!r} is not known, and group {row.group!r} "
                f"of {row.source!r} has no `calibrate` row to say how fast it computes; mark its "
                "smallest run so"
            )
