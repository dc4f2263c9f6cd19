"""``inkstone corpus calibrate``: from files to a profile as YAML."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from clusters.config import ConfigError
from corpus.normalise import normalise
from corpus.rules.calibrate import calibrate, sample
from corpus.rules.config import Profile
from corpus.sources.config import FilesSource
from corpus.sources.plan import plan_shards, read_shard
from corpus.sources.record import Record

Format = Literal["jsonl", "text", "parquet", "arrow"]
_FORMATS: dict[str, Format] = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "text",
    ".md": "text",
}


@dataclass(frozen=True)
class _Sources:
    sources: tuple[FilesSource, ...]


def calibrated_yaml(path: str, language: str, field: str, tail: float, limit: int) -> str:
    """A profile for ``corpus.build``'s ``rules.languages``, with what it was made from.

    Args:
        path: file, folder or glob of good documents of the language.
        language: ISO 639-1 code.
        field: field or column with the text, for JSON Lines and tables.
        tail: share of the sample that one threshold may reject.
        limit: most documents measured; chosen by hash.

    Raises:
        ConfigError: nothing to read there.
        CorpusError: too few documents.
    """
    texts = sample((normalise(text, language) for text in _texts(path, field)), limit)
    profile = calibrate(texts, tail)
    head = f"# {len(texts)} documents of {path}; each threshold alone rejects {tail:.1%} of them\n"
    return head + to_yaml({language: profile})


def to_yaml(profiles: dict[str, Profile]) -> str:
    """Profiles as the ``rules`` of a recipe; what is as by default is left out."""
    languages = {
        name: profile.model_dump(mode="json", exclude_defaults=True)
        for name, profile in profiles.items()
    }
    return yaml.safe_dump(
        {"rules": {"languages": languages}}, allow_unicode=True, sort_keys=False, width=100
    )


def _texts(path: str, field: str) -> Iterator[str]:
    source = FilesSource(path=path, format=_format(path), source="sample", text_field=field)
    config = _Sources((source,))
    for shard in plan_shards(config):
        for record in read_shard(config, shard):
            if isinstance(record, Record) and isinstance(record.text, str):
                yield record.text


def _format(path: str) -> Format:
    if Path(path).is_dir():
        return "text"
    for suffix in Path(path).suffixes[::-1]:
        if suffix in _FORMATS:
            return _FORMATS[suffix]
    raise ConfigError(f"{path}: name a folder of texts, or files ending in {', '.join(_FORMATS)}")
