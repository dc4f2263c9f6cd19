"""Examples from files outside the corpus: JSON Lines or CSV."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from clusters.config import ConfigError
from contracts.manifest import ExternalInput, hash_file
from corpus.errors import CorpusError
from corpus.value.config import Seed

_ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".csv")


def hashed(path: str, key: str) -> ExternalInput:
    """Name, size and blake3 of a file.

    Raises:
        ConfigError: it is missing, unreadable or of no known kind; names the key.
    """
    if not path.endswith(_ENDINGS):
        raise ConfigError(f"{key}: {path!r} is none of {', '.join(_ENDINGS)}")
    try:
        size, checksum = hash_file(Path(path))
    except OSError as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error}") from error
    return ExternalInput(name=f"{key}/{Path(path).name}", bytes=size, blake3=checksum)


def read_seed(seed: Seed) -> Iterator[str]:
    """Texts of a seed's file, in file order; rows that ``where`` leaves out are passed over.

    Raises:
        CorpusError: a row is broken or lacks the text; names the file, the line, the field.
    """
    path = seed.path or ""
    with _open(path) as stream:
        rows = _csv_rows(stream) if path.endswith(".csv") else _json_rows(stream, path)
        for number, row in rows:
            if any(str(row.get(field)) != value for field, value in seed.where.items()):
                continue
            text = row.get(seed.text_field)
            if not isinstance(text, str):
                raise CorpusError(
                    f"{path}:{number}: field {seed.text_field!r} is no text; set text_field "
                    f"to one of {', '.join(map(str, row))}, or mend the line"
                )
            yield text


def _json_rows(stream: TextIO, path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise CorpusError(f"{path}:{number}: broken JSON ({error}); mend the line") from error
        if not isinstance(row, dict):
            raise CorpusError(f"{path}:{number}: no JSON object; each line holds one example")
        yield number, row


def _csv_rows(stream: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(stream)
    for row in reader:
        yield reader.line_num, row


@contextmanager
def _open(path: str) -> Iterator[TextIO]:
    """A text stream of a plain, gzip or zstd file; broken UTF-8 becomes U+FFFD."""
    with open(path, "rb") as raw:
        stream: Any = raw
        if path.endswith(".gz"):
            stream = gzip.GzipFile(fileobj=raw)
        elif path.endswith(".zst"):
            import zstandard

            stream = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        yield io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
