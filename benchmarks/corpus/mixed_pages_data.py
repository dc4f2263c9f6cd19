"""The annotated pages of ``web/mixed_pages`` and the score of its snippets."""

import gzip
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Snippets:
    """A page, and what its main text must and must not hold."""

    page: bytes
    wanted: list[str]
    unwanted: list[str]


def web_folder() -> Path:
    return Path(os.environ["INKSTONE_DATA"]) / "web"


def pages(name: str) -> dict[str, bytes]:
    """URL -> page of one archive of ``web/``."""
    from fastwarc.warc import ArchiveIterator

    with (web_folder() / f"{name}.warc.gz").open("rb") as file:
        return {
            record.headers["WARC-Target-URI"]: record.reader.read()
            for record in ArchiveIterator(file, parse_http=True)
        }


def truth(name: str) -> list[dict]:
    with gzip.open(web_folder() / f"{name}.truth.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def annotated() -> list[Snippets]:
    """The annotated pages, in the order of the truth file."""
    by_file = {url.rsplit("/", 1)[-1]: page for url, page in pages("mixed_pages").items()}
    rows = truth("mixed_pages")
    return [Snippets(by_file[row["file"]], row["with"], row["without"]) for row in rows]


def snippet_score(texts: Sequence[str], items: Sequence[Snippets]) -> dict[str, float]:
    """Precision, recall and F1 over snippets, as trafilatura's own evaluation counts them."""
    found = wrong = missed = 0
    for text, item in zip(texts, items, strict=True):
        hits = sum(snippet in text for snippet in item.wanted)
        found += hits
        missed += len(item.wanted) - hits
        wrong += sum(snippet in text for snippet in item.unwanted)
    precision = found / (found + wrong) if found else 0.0
    recall = found / (found + missed) if found else 0.0
    f1 = 2 * precision * recall / (precision + recall) if found else 0.0
    return {"precision": round(precision, 4), "recall": round(recall, 4), "f1": round(f1, 4)}
