"""Published throughput tables: reading them, and saying what is wrong in them."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from clusters.config import ConfigError, nearest
from trainer.plan.hardware import GB, UNKNOWN_GPU, Cluster, find_gpu
from trainer.plan.layout import RECOMPUTE, Recompute

USES = ("calibrate", "fit", "predict")


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


class _Reader:
    """One line of a table, read column by column."""

    def __init__(self, path: Path, line: int, cells: dict[str, str]) -> None:
        self.path, self.line, self.cells = path, line, cells

    def fail(self, column: str, problem: str) -> ConfigError:
        return ConfigError(f"{self.path}:{self.line}: {column}: {problem}")

    def text(self, column: str) -> str:
        value = (self.cells.get(column) or "").strip()
        if not value:
            raise self.fail(column, "empty")
        return value

    def number(self, column: str) -> float:
        value = self.text(column)
        try:
            number = float(value)
        except ValueError:
            raise self.fail(column, f"expected a number above 0, got {value!r}") from None
        if not (number > 0 and math.isfinite(number)):
            raise self.fail(column, f"expected a number above 0, got {value!r}")
        return number

    def whole(self, column: str) -> int:
        number = self.number(column)
        if number != int(number):
            raise self.fail(column, f"expected a whole number, got {self.text(column)!r}")
        return int(number)

    def one_of(self, column: str, known: tuple[str, ...]) -> str:
        value = self.text(column).lower()
        if value not in known:
            hint = nearest(value, list(known))
            raise self.fail(column, f"unknown {value!r}{hint}; known: {', '.join(known)}")
        return value


def _shard(read: _Reader) -> str:
    value = read.text("optimizer_shard").lower()
    if value in ("all", "fsdp", "ddp") or (value.isdigit() and int(value) > 0):
        return value
    raise read.fail("optimizer_shard", f"unknown layout {value!r}; known: all, fsdp, ddp, a number")


def _cluster(read: _Reader) -> Cluster:
    gpu = find_gpu(read.text("gpu")) or UNKNOWN_GPU
    bandwidth = read.number("node_bandwidth_gbit_s") * GB / 8
    return Cluster(gpu, read.whole("gpus_per_node"), bandwidth)


def _row(read: _Reader) -> Row:
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


def read_table(path: Path) -> list[Row]:
    """The rows of a published table.

    Raises:
        ConfigError: naming file, line and column of the first thing wrong.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
            if missing:
                raise ConfigError(f"{path}:1: missing column {', '.join(missing)}")
            rows = [_row(_Reader(path, reader.line_num, cells)) for cells in reader]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: not a CSV file in UTF-8: {error}") from None
    _check_groups(path, rows)
    return rows


def _check_groups(path: Path, rows: list[Row]) -> None:
    if not rows:
        raise ConfigError(f"{path}:2: no rows")
    calibrated = {row.key for row in rows if row.use == "calibrate"}
    for row in rows:
        if row.key not in calibrated:
            raise ConfigError(
                f"{path}:{row.line}: use: group {row.group!r} of {row.source!r} has no "
                "`calibrate` row; mark its smallest run so"
            )
