"""From the config's sources to shards and hashed external inputs."""

from collections.abc import Iterator

from contracts.manifest import ExternalInput
from corpus.config import BuildConfig
from corpus.sources import files, python_docs
from corpus.sources.config import PythonDocsSource
from corpus.sources.jsonl import read_jsonl
from corpus.sources.parquet import read_parquet
from corpus.sources.record import BadRecord, Record, Shard, ShardFile
from corpus.sources.text import read_text
from corpus.sources.warc import read_warc


def plan_shards(config: BuildConfig) -> list[Shard]:
    """All shards in a fixed order. Their number depends on the config and files only.

    Raises:
        ConfigError: a path that is missing, empty or unreadable; names the key.
    """
    shards: list[Shard] = []
    for index, source in enumerate(config.sources):
        groups: list[list[ShardFile]]
        if isinstance(source, PythonDocsSource):
            groups = python_docs.groups(source, f"sources.{index}")
        else:
            groups = [[file] for file in files.list_files(source, f"sources.{index}")]
        for group in groups:
            shards.append(Shard(name=f"{len(shards):05d}", source_index=index, files=group))
    return shards


def external_inputs(config: BuildConfig) -> list[ExternalInput]:
    """What the build reads from outside, hashed.

    Raises:
        ConfigError: a path that is missing, empty or unreadable; names the key.
    """
    inputs: list[ExternalInput] = []
    for index, source in enumerate(config.sources):
        key = f"sources.{index}"
        if isinstance(source, PythonDocsSource):
            inputs += python_docs.external_inputs(source, key)
        else:
            inputs += files.external_inputs(source, key)
    return inputs


def read_shard(config: BuildConfig, shard: Shard) -> Iterator[Record | BadRecord]:
    """The records of one shard, in file order; what cannot be read comes as BadRecord."""
    source = config.sources[shard.source_index]
    for file in shard.files:
        if isinstance(source, PythonDocsSource):
            yield from python_docs.read_file(file)
        elif source.format == "jsonl":
            yield from read_jsonl(source, file)
        elif source.format == "parquet":
            yield from read_parquet(source, file)
        elif source.format == "warc":
            yield from read_warc(source, file)
        else:
            yield from read_text(source, file)
