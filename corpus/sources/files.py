"""Finds and hashes the files of a path, folder or glob."""

import glob
from pathlib import Path

from clusters.config import ConfigError
from contracts.manifest import ExternalInput, hash_file
from corpus.sources.config import FilesSource
from corpus.sources.record import ShardFile

ENDINGS = {
    "jsonl": (".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson"),
    "parquet": (".parquet",),
    "text": (".txt", ".md", ".rst", ".html", ".htm"),
    "warc": (".warc", ".warc.gz", ".warc.lz4", ".warc.zst"),
}


def list_files(source: FilesSource, key: str) -> list[ShardFile]:
    """Files of a source by relative name.

    Raises:
        ConfigError: nothing there, or nothing of the format; names the key.
    """
    path = Path(source.path)
    if path.is_file():
        return [ShardFile(path=str(path.absolute()), name=path.name)]
    if path.is_dir():
        found = [p for p in path.rglob("*") if p.name.endswith(ENDINGS[source.format])]
        base = path
    else:
        found = [Path(p) for p in glob.glob(source.path, recursive=True)]
        fixed = source.path[: _first_wildcard(source.path)]
        base = Path(fixed[: fixed.rfind("/") + 1])
    found = [p for p in found if p.is_file()]
    if not found:
        raise ConfigError(
            f"{key}.path: no {source.format} file at {source.path!r}; give a file, "
            f"a glob, or a folder with {', '.join(ENDINGS[source.format])} files"
        )
    listed = [ShardFile(path=str(p.absolute()), name=_relative(p, base)) for p in found]
    return sorted(listed, key=lambda file: file.name)


def external_inputs(source: FilesSource, key: str) -> list[ExternalInput]:
    """Relative name, size and blake3 of every file.

    Raises:
        ConfigError: a file is missing or unreadable; names the key.
    """
    inputs = []
    for file in list_files(source, key):
        try:
            size, checksum = hash_file(Path(file.path))
        except OSError as error:
            raise ConfigError(f"{key}.path: {file.path} cannot be read: {error}") from error
        inputs.append(ExternalInput(name=f"{key}/{file.name}", bytes=size, blake3=checksum))
    return inputs


def _first_wildcard(pattern: str) -> int:
    places = [pattern.find(sign) for sign in "*?[" if sign in pattern]
    return min(places, default=len(pattern))


def _relative(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix()
