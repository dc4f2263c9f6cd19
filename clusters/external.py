"""Hashes the files outside the store that a config names."""

from pathlib import Path

from clusters.config import ConfigError
from contracts.manifest import ExternalInput, hash_file


def hashed(path: Path, name: str, key: str) -> ExternalInput:
    """Size and blake3 of a file, under the name that the fingerprint knows it by.

    Args:
        key: where the config names the file, e.g. ``safety.words.0.path``.

    Raises:
        ConfigError: it cannot be read; names the key.
    """
    try:
        size, checksum = hash_file(path)
    except OSError as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error}") from error
    return ExternalInput(name=name, bytes=size, blake3=checksum)
