"""Reads and hashes the user's lists."""

from pathlib import Path

from clusters.external import hashed
from contracts.manifest import ExternalInput
from corpus.errors import CorpusError
from corpus.safety.config import ListConfig, SafetyConfig


def read_list(config: ListConfig) -> list[str]:
    """Entries of a list in file order, stripped, each once.

    Raises:
        CorpusError: the file is missing, no UTF-8, or holds no entry.
    """
    try:
        text = Path(config.path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"safety list {config.name!r}: {config.path}: {error}") from error
    lines = (line.strip() for line in text.splitlines())
    entries = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not entries:
        raise CorpusError(
            f"safety list {config.name!r}: {config.path} holds no entry; write one a line, "
            "or take the list out of the config"
        )
    return entries


def external_inputs(config: SafetyConfig, key: str) -> list[ExternalInput]:
    """Name, size and blake3 of every list.

    Raises:
        ConfigError: a file cannot be read; names the key.
    """
    inputs = []
    for kind in ("domains", "url_words", "words"):
        for index, entry in enumerate(getattr(config, kind)):
            where = f"{key}.{kind}.{index}"
            inputs.append(hashed(Path(entry.path), f"{where}/{entry.name}", f"{where}.path"))
    return inputs
