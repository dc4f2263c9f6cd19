"""Texts for the classifier benchmarks: pages in two parts, prose, spam."""

import csv
import email
import email.message
import email.policy
import gzip
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from fastwarc.warc import ArchiveIterator
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding

from corpus.extract.config import ExtractConfig
from corpus.extract.page import extract_page

DATA = Path(os.environ.get("INKSTONE_DATA", "data"))
_WORD = re.compile(r"\w+")
_GRAM = 4
_SAME = 0.5
_MIN_CHARS = 100
_ANSWER_CHARS = 300

Page = tuple[str, str]
"""(main text, boilerplate of the same page)."""


def article_pages() -> list[Page]:
    """Annotated pages: the truth, and what else the page says."""
    truth = {}
    with gzip.open(DATA / "web/article_extraction.truth.jsonl.gz", "rt") as file:
        for line in file:
            row = json.loads(line)
            truth[row["url"]] = row["article"]
    pages = (
        (truth[url], boilerplate(html, truth[url]))
        for url, html in _pages(DATA / "web/article_extraction.warc.gz")
        if url in truth
    )
    return [page for page in pages if min(map(len, page)) >= _MIN_CHARS]


def mixed_pages() -> list[Page]:
    """Other pages of other hosts: what our extraction takes, and what it leaves."""
    found = []
    for _, html in _pages(DATA / "web/mixed_pages.warc.gz"):
        main = extract_page(html, ExtractConfig()).text
        found.append((main, boilerplate(html, main)))
    return [page for page in found if min(map(len, page)) >= _MIN_CHARS]


def boilerplate(html: bytes, main: str) -> str:
    """The page's lines that are not of its main text."""
    text = extract_plain_text(bytes_to_str(html, detect_encoding(html) or "utf-8"))
    known = _grams(main)
    joined = " ".join(_words(main))
    lines = []
    for line in text.splitlines():
        words = _words(line)
        grams = _grams(line)
        same = len(grams & known) >= _SAME * len(grams) if grams else " ".join(words) in joined
        if words and not same:
            lines.append(line.strip())
    return "\n".join(lines)


def prose() -> dict[str, list[str]]:
    """Source -> texts."""
    import zstandard

    found: dict[str, list[str]] = {}
    with open(DATA / "corpus/en_prose.jsonl.zst", "rb") as raw:
        stream = zstandard.ZstdDecompressor().stream_reader(raw)
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            row = json.loads(line)
            found.setdefault(row["source"], []).append(row["text"])
    return found


def mail(label: str) -> list[str]:
    """Bodies of ``spam`` or ``ham``, without headers and tags: a header would give them away."""
    bodies = []
    with gzip.open(DATA / "lowquality/spamassassin_mail.jsonl.gz", "rt") as file:
        for line in file:
            row = json.loads(line)
            if row["label"] == label:
                bodies.append(_body(row["text"]))
    return [body for body in bodies if len(body) >= _MIN_CHARS]


def answers(count: int) -> list[str]:
    """Answers to instructions of some length, evenly from all of them."""
    with gzip.open(DATA / "sft/alpaca_en.jsonl.gz", "rt") as file:
        texts = [text for line in file if len(text := json.loads(line)["output"]) >= _ANSWER_CHARS]
    return texts[:: max(1, len(texts) // count)][:count]


def spam_sms() -> list[str]:
    """Short messages."""
    with tarfile.open(DATA / "lowquality/sms_davidson_cold_badwords.tar.gz") as archive:
        member = archive.extractfile("sms_spam/sms_spam.csv")
        assert member is not None
        rows = csv.DictReader(io.StringIO(member.read().decode("utf-8", "replace")))
        return [row["text"] for row in rows if row["type"] == "spam"]


def _body(raw: str) -> str:
    message = email.message_from_string(raw, policy=email.policy.compat32)
    texts = []
    for part in message.walk():
        kind = part.get_content_type()
        if kind not in ("text/plain", "text/html"):
            continue
        payload = part.get_payload(decode=True)
        text = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
        texts.append(extract_plain_text(text) if kind == "text/html" else text)
    return "\n".join(texts).strip()


def _pages(path: Path) -> Iterator[tuple[str, bytes]]:
    with open(path, "rb") as stream:
        for record in ArchiveIterator(stream, parse_http=True):
            yield record.headers["WARC-Target-URI"], record.reader.read()


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _grams(text: str) -> set[tuple[str, ...]]:
    words = _words(text)
    return {tuple(words[i : i + _GRAM]) for i in range(len(words) - _GRAM + 1)}
