"""Reads the items of evaluation sets from their files."""

import csv
import glob
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from clusters.config import ConfigError
from clusters.external import hashed
from contracts.manifest import ExternalInput
from corpus.decontaminate.config import BenchmarkConfig, DecontaminateConfig
from corpus.errors import CorpusError
from corpus.sources.decompress import STREAM_ERRORS, open_text

ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".json.gz", ".csv", ".parquet", ".txt")


def list_files(benchmark: BenchmarkConfig, key: str) -> list[Path]:
    """Files of an evaluation set, sorted.

    Raises:
        ConfigError: none, or one of an unknown ending; names the key.
    """
    path = Path(benchmark.path)
    named = [benchmark.path] if path.is_file() else glob.glob(benchmark.path, recursive=True)
    found = sorted(file for file in map(Path, named) if file.is_file())
    if not found:
        raise ConfigError(f"{key}.path: no file at {benchmark.path!r}; give a file or a glob")
    for file in found:
        if not file.name.endswith(ENDINGS):
            raise ConfigError(f"{key}.path: {file} is none of {', '.join(ENDINGS)}")
    return found


def external_inputs(config: DecontaminateConfig, key: str) -> list[ExternalInput]:
    """Name, size and blake3 of every file of the evaluation sets.

    Raises:
        ConfigError: a file is missing or unreadable; names the key.
    """
    inputs = []
    for index, benchmark in enumerate(config.benchmarks):
        where = f"{key}.benchmarks.{index}"
        for file in list_files(benchmark, where):
            inputs.append(hashed(file, f"{where}/{benchmark.name}/{file.name}", f"{where}.path"))
    return inputs


def read_items(benchmark: BenchmarkConfig) -> Iterator[tuple[str, list[str]]]:
    """(item name, its pieces of text) of every record, in file order.

    The name is the file's name and the record's number from 1.

    Raises:
        CorpusError: a file or record cannot be read, or lacks a field: an evaluation set must be
            whole, or what it leaves out would stay in the corpus unseen.
    """
    for path in list_files(benchmark, f"benchmark {benchmark.name!r}"):
        try:
            for number, record in enumerate(_records(path, benchmark), 1):
                where = f"{path.name}:{number}"
                yield where, _pieces(record, benchmark, f"{path}: record {number}")
        except STREAM_ERRORS as error:
            raise CorpusError(f"benchmark {benchmark.name!r}: {path}: {error}") from error


def _records(path: Path, benchmark: BenchmarkConfig) -> Iterator[Any]:
    if path.name.endswith(".parquet"):
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
        return
    newline = "" if path.name.endswith(".csv") else None
    with open_text(path, encoding="utf-8-sig", newline=newline) as file:
        if ".jsonl" in path.name:
            yield from (json.loads(line) for line in file if line.strip())
        elif ".json" in path.name:
            yield from _only_list(json.load(file))
        elif path.name.endswith(".csv"):
            yield from _csv(file, benchmark)
        else:
            yield from (line.strip() for line in file if line.strip())


def _only_list(value: Any) -> list[Any]:
    """The value, where it is a list, or the longest list below an object's keys."""
    if isinstance(value, list):
        return value
    lists = [v for v in value.values() if isinstance(v, list)] if isinstance(value, dict) else []
    return max(lists, key=len) if lists else [value]


def _csv(file: TextIO, benchmark: BenchmarkConfig) -> Iterator[Any]:
    rows = csv.reader(file)
    if benchmark.fields and all(field.isdigit() for field in benchmark.fields):
        yield from (dict(zip(map(str, range(len(row))), row, strict=True)) for row in rows)
        return
    header = next(rows, [])
    yield from (dict(zip(header, row, strict=False)) for row in rows)


def _pieces(record: Any, benchmark: BenchmarkConfig, where: str) -> list[str]:
    if not benchmark.fields:
        found = list(_strings(record))
    else:
        found = []
        for field in benchmark.fields:
            found.append(" ".join(_strings(_field(record, field, where))))
    found = [piece for piece in found if piece.strip()]
    return found if benchmark.separate or not found else [" ".join(found)]


def _field(record: Any, field: str, where: str) -> Any:
    value = record
    for part in field.split("."):
        if not isinstance(value, dict) or part not in value:
            known = ", ".join(map(str, value)) if isinstance(value, dict) else type(value).__name__
            raise ValueError(f"{where}: no field {field!r}; it has: {known}")
        value = value[part]
    return value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)
