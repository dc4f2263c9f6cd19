"""Finds, hashes and groups the files of a path, folder, glob or S3-like prefix."""

from pathlib import Path

from clusters.config import ConfigError
from clusters.external import hashed
from contracts.manifest import ExternalInput
from corpus.errors import CorpusError
from corpus.sources import mail, storage
from corpus.sources.config import FilesSource
from corpus.sources.decompress import COMPRESSED
from corpus.sources.parquet import row_group_bytes
from corpus.sources.record import ShardFile
from corpus.sources.text import HTML_ENDINGS

_JSONL = (".jsonl", ".ndjson")
ENDINGS = {
    "jsonl": tuple(name + packed for name in _JSONL for packed in ("", *COMPRESSED)),
    "parquet": (".parquet",),
    "arrow": (".arrow", ".feather", ".ipc", ".arrows"),
    "text": (".txt", ".md", ".rst", *HTML_ENDINGS),
    "html": HTML_ENDINGS,
    "warc": (
        *(".warc" + packed for packed in ("", ".gz", ".lz4", ".zst")),
        *(".wet" + packed for packed in ("", ".gz")),
        *(".arc" + packed for packed in ("", ".gz")),
    ),
    "mail": (".eml", *mail.MBOX_ENDINGS, *mail.JSONL_ENDINGS),
}
_GROUPED = ("text", "html", "mail")
"""Formats whose files are small: a document each."""
_WAT_ENDINGS = (".wat", ".wat.gz")


def list_files(source: FilesSource, key: str) -> list[ShardFile]:
    """Files of a source by relative name.

    Raises:
        ConfigError: nothing there, nothing of the format, or it cannot be listed, or an
            option that the format has not; names the key.
    """
    if source.format == "jsonl" and source.encoding is not None:
        raise ConfigError(
            f"{key}.encoding: JSON Lines are UTF-8 (RFC 8259); write the files as UTF-8 "
            "(iconv -t UTF-8) and leave encoding out"
        )
    try:
        found = storage.find(source, _endings(source))
    except OSError as error:
        raise ConfigError(_unlisted(source, key, error)) from error
    except ConfigError as error:
        raise ConfigError(f"{key}.path: {error}") from error
    found = [file for file in found if _is_meant(source, file.name)]
    if not found:
        raise ConfigError(
            f"{key}.path: no {source.format} file at {source.path!r}; give a file, "
            f"a glob, or a folder with {', '.join(ENDINGS[source.format])} files"
        )
    wat = next((file.name for file in found if file.name.endswith(_WAT_ENDINGS)), None)
    if wat is not None and source.format == "warc":
        raise ConfigError(
            f"{key}.path: {wat} is a WAT file: it holds metadata, no text; name the WARC or WET"
        )
    return [
        ShardFile(path=file.path, name=file.name, bytes=file.bytes, version=file.version)
        for file in found
    ]


def groups(source: FilesSource, key: str) -> list[list[ShardFile]]:
    """The work units: a file each; large ones cut, small ones of one document together.

    Raises:
        ConfigError: as ``list_files``.
    """
    files = list_files(source, key)
    if source.format in _GROUPED:
        return _grouped(files, source.group_bytes)
    return [[part] for file in files for part in _parts(source, file)]


def external_inputs(source: FilesSource, key: str) -> list[ExternalInput]:
    """Relative name, size and blake3 of every file; of a remote one its etag.

    Raises:
        ConfigError: a file is missing or unreadable; names the key.
    """
    inputs = []
    for file in list_files(source, key):
        name = f"{key}/{file.name}"
        if storage.is_remote(file.path):
            inputs.append(ExternalInput(name=name, bytes=file.bytes, blake3=f"etag:{file.version}"))
            continue
        inputs.append(hashed(Path(file.path), name, f"{key}.path"))
    return inputs


def _endings(source: FilesSource) -> tuple[str, ...]:
    return ("",) if source.format == "mail" else ENDINGS[source.format]


def _is_meant(source: FilesSource, name: str) -> bool:
    """Of a mail folder only what is mail: a Maildir's files have no ending of their own."""
    if source.format != "mail" or Path(source.path).is_file() or "*" in source.path:
        return True
    return name.endswith(ENDINGS["mail"]) or mail.MAILDIR.search(name) is not None


def _unlisted(source: FilesSource, key: str, error: OSError) -> str:
    detail = " ".join(str(error.strerror or error).split())[:300]
    text = f"{key}.path: {source.path!r} cannot be listed or opened: {detail}"
    if not storage.is_remote(source.path):
        return text
    return (
        f"{text}; check bucket, endpoint and the credentials in the environment "
        "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), or set anonymous: true for a public bucket"
    )


def _grouped(files: list[ShardFile], size: int) -> list[list[ShardFile]]:
    cut: list[list[ShardFile]] = []
    total = 0
    for file in files:
        if not cut or total + file.bytes > size:
            cut.append([])
            total = 0
        cut[-1].append(file)
        total += file.bytes
    return cut


def _parts(source: FilesSource, file: ShardFile) -> list[ShardFile]:
    """The file, or where it is large and can be cut its parts. By config and file alone."""
    if file.bytes <= source.shard_bytes:
        return [file]
    if source.format == "jsonl" and not file.name.endswith(COMPRESSED):
        return _byte_ranges(file, source.shard_bytes)
    if source.format == "parquet":
        return _row_groups(source, file)
    return [file]


def _byte_ranges(file: ShardFile, size: int) -> list[ShardFile]:
    starts = range(0, file.bytes, size)
    return [
        file.model_copy(
            update={
                "start": start,
                "end": start + size if start + size < file.bytes else None,
                "bytes": min(size, file.bytes - start),
            }
        )
        for start in starts
    ]


def _row_groups(source: FilesSource, file: ShardFile) -> list[ShardFile]:
    """Runs of row groups of about ``shard_bytes`` each."""
    try:
        with storage.Opened(source, file) as stream:
            sizes = row_group_bytes(stream)
    except CorpusError as error:
        raise ConfigError(str(error)) from error
    cuts = [0]
    total = 0
    for index, size in enumerate(sizes):
        if total and total + size > source.shard_bytes:
            cuts.append(index)
            total = 0
        total += size
    if len(cuts) == 1:
        return [file]
    ends: list[int | None] = [*cuts[1:], len(sizes)]
    return [
        file.model_copy(update={"start": start, "end": end, "bytes": sum(sizes[start:end])})
        for start, end in zip(cuts, ends, strict=True)
    ]
