"""The tokenizer on real English and Chinese prose: exact, and compressing."""

import io
import json
from itertools import islice
from pathlib import Path

import pytest
import zstandard

from corpus.tokenizer import train_tokenizer

CHARACTERS = 600_000


def prose(path: Path) -> list[str]:
    """Texts from the start of a file, cut to pieces, CHARACTERS in all."""
    pieces: list[str] = []
    with open(path, "rb") as raw:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")
        for line in islice(lines, 400):
            text = json.loads(line)["text"]
            pieces += [text[i : i + 5000] for i in range(0, len(text), 5000)]
            if sum(map(len, pieces)) > CHARACTERS:
                break
    return pieces


@pytest.mark.data
@pytest.mark.parametrize(("name", "floor"), [("en_prose", 3.3), ("zh_prose", 2.7)])
def test_real_prose_is_kept_exactly_and_compressed(data_dir: Path, name: str, floor: float) -> None:
    """Floors, in held-out bytes per token, sit about a tenth below what was measured."""
    pieces = prose(data_dir / "corpus" / f"{name}.jsonl.zst")
    held_out = pieces[::10]
    tokenizer = train_tokenizer((p for i, p in enumerate(pieces) if i % 10), 4096)
    encoded = [tokenizer.encode(text).ids for text in held_out]
    assert [tokenizer.decode(ids) for ids in encoded] == held_out
    size = sum(len(text.encode()) for text in held_out)
    assert size / sum(map(len, encoded)) > floor
