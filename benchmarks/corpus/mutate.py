"""Copies of a corpus with new words in them: as much text as asked for, all of it realistic."""

import io
import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import zstandard

RATES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.2)
"""Shares of words replaced; a copy has one of them. With word 5-grams a rate r leaves a
Jaccard similarity of q / (2 - q) to the original, q = (1 - r)^5: from .98 to .20."""
_CONSONANTS, _VOWELS = "bdgklmnprstvz", "aeiou"


@lru_cache(maxsize=1)
def _new_words() -> list[str]:
    """All words of the shape consonant, vowel, consonant, vowel, consonant, about 55,000."""
    shape = (_CONSONANTS, _VOWELS, _CONSONANTS, _VOWELS, _CONSONANTS)
    return ["".join(letters) for letters in product(*shape)]


def documents(path: Path, most_bytes: int | None = None) -> list[dict[str, str]]:
    """Rows of a ``.jsonl.zst``; evenly chosen from all of it where ``most_bytes`` is less."""
    with path.open("rb") as raw:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")
        rows = [json.loads(line) for line in lines]
    total = sum(len(row["text"].encode()) for row in rows)
    if most_bytes is None or total <= most_bytes:
        return rows
    every = total / most_bytes
    return [rows[int(number * every)] for number in range(int(len(rows) / every))]


def mutated(text: str, rate: float, rng: np.random.Generator) -> str:
    """The text with a share of its words replaced by words that nobody has written."""
    words, new = text.split(" "), _new_words()
    places = np.flatnonzero(rng.random(len(words)) < rate)
    for place, word in zip(
        places.tolist(), rng.integers(0, len(new), len(places)).tolist(), strict=True
    ):
        words[place] = new[word]
    return " ".join(words)


def copies(rows: list[dict[str, str]], times: int, seed: int) -> Iterator[dict[str, str]]:
    """The rows, then ``times - 1`` mutated copies of each; ids are ``COPY/ID``."""
    rng = np.random.default_rng(seed)
    for copy in range(times):
        for number, row in enumerate(rows):
            text = row["text"]
            if copy:
                text = mutated(text, RATES[(number + copy) % len(RATES)], rng)
            yield {"id": f"{copy}/{number}", "text": text}


def write_shards(rows: Iterator[dict[str, str]], folder: Path, shard_bytes: int) -> int:
    """Write JSON Lines files of about ``shard_bytes``; UTF-8 bytes of text in all."""
    folder.mkdir(parents=True)
    total = number = 0
    file = (folder / f"{number:04d}.jsonl").open("w", encoding="utf-8")
    for row in rows:
        if file.tell() >= shard_bytes:
            file.close()
            number += 1
            file = (folder / f"{number:04d}.jsonl").open("w", encoding="utf-8")
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
        total += len(row["text"].encode())
    file.close()
    return total
