"""Examples from files outside the corpus: JSON Lines or CSV."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from clusters.config import ConfigError
from clusters.external import hashed
from contracts.manifest import ExternalInput
from corpus.errors import CorpusError
from corpus.sources.decompress import open_text
from corpus.value.config import Seed

_ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".csv")


def seed_input(path: str, key: str) -> ExternalInput:
    """Name, size and blake3 of a file.

    Raises:
        ConfigError: it is missing, unreadable or of no known kind; names the key.
    """
    if not path.endswith(_ENDINGS):
        raise ConfigError(f"{key}: {path!r} is none of {', '.join(_ENDINGS)}")
    return hashed(Path(path), f"{key}/{Path(path).name}", key)


def read_seed(seed: Seed) -> Iterator[str]:
    """Texts of a seed's file, in file order; rows that ``where`` leaves out are passed over.

    Raises:
        CorpusError: a row is broken or lacks the text; names the file, the line, the field.
    """
    path = seed.path or ""
    with open_text(Path(path), errors="replace") as stream:
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
