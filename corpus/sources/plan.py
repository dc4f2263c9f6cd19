"""From the config's sources to shards and hashed external inputs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

from contracts.manifest import ExternalInput
from corpus.sources import files, huggingface, python_docs
from corpus.sources.arrow import read_arrow
from corpus.sources.config import (
    FilesSource,
    HuggingFaceSource,
    PythonDocsSource,
)
from corpus.sources.jsonl import read_jsonl
from corpus.sources.mail import read_mail
from corpus.sources.parquet import read_parquet
from corpus.sources.record import BadRecord, Record, Shard, ShardFile
from corpus.sources.text import read_text
from corpus.sources.warc import read_warc

Source = PythonDocsSource | FilesSource | HuggingFaceSource
_READERS = {
    "jsonl": read_jsonl,
    "text": read_text,
    "html": read_text,
    "parquet": read_parquet,
    "arrow": read_arrow,
    "mail": read_mail,
}


class HasSources(Protocol):
    """A config with sources: of a build, or of anything else that reads documents."""

    @property
    def sources(self) -> Sequence[Source]:
        """What is read, in order."""


def plan_shards(config: HasSources) -> list[Shard]:
    """All shards in a fixed order. Their number depends on the config and files only.

    Raises:
        ConfigError: a path that is missing, empty or unreadable; names the key.
    """
    shards: list[Shard] = []
    for index, source in enumerate(config.sources):
        for group in _groups(source, f"sources.{index}"):
            shards.append(Shard(name=f"{len(shards):05d}", source_index=index, files=group))
    return shards


def _groups(source: Source, key: str) -> list[list[ShardFile]]:
    if isinstance(source, PythonDocsSource):
        return python_docs.groups(source, key)
    if isinstance(source, HuggingFaceSource):
        return [[file] for file in huggingface.list_files(source, key)]
    return files.groups(source, key)


def external_inputs(config: HasSources) -> list[ExternalInput]:
    """What the build reads from outside, hashed.

    Raises:
        ConfigError: a path that is missing, empty or unreadable; names the key.
    """
    inputs: list[ExternalInput] = []
    for index, source in enumerate(config.sources):
        key = f"sources.{index}"
        if isinstance(source, PythonDocsSource):
            inputs += python_docs.external_inputs(source, key)
        elif isinstance(source, HuggingFaceSource):
            inputs += huggingface.external_inputs(source, key)
        else:
            inputs += files.external_inputs(source, key)
    return inputs


def read_shard(
    config: HasSources, shard: Shard, skipped: Counter[str] | None = None
) -> Iterator[Record | BadRecord]:
    """The records of one shard, in file order; what cannot be read comes as BadRecord.

    ``skipped`` counts what is in the files and is no document by its nature (requests,
    images, error pages of web archives), by kind.

    Raises:
        CorpusError: a file vanished, changed or could not be read since the plan was made.
    """
    source = config.sources[shard.source_index]
    for file in shard.files:
        if isinstance(source, PythonDocsSource):
            yield from python_docs.read_file(file)
        elif isinstance(source, HuggingFaceSource):
            yield from read_arrow(source, file)
        elif source.format == "warc":
            yield from read_warc(source, file, skipped)
        else:
            yield from _READERS[source.format](source, file)
