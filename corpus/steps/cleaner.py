"""One record on its way to a candidate: extraction, language, rules, safety, decontamination."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from corpus.config import BuildConfig
from corpus.decontaminate.index import Hit
from corpus.decontaminate.index_file import load_index
from corpus.extract.page import Page, extract_page
from corpus.language import identify, refusal
from corpus.ledger import UNKNOWN_LANGUAGE
from corpus.normalise import normalise
from corpus.rules.clean import clean
from corpus.rules.judge import judge
from corpus.rules.verdict import Rejection
from corpus.safety.safety import Safety
from corpus.sources.record import BadRecord, Record
from corpus.value.prose import prose_share

Passed = Callable[[str, str, int], None]
"""``passed(step, language, bytes)``: hears of every step that a record has passed."""


@dataclass
class Rejected(Exception):
    """A record that goes no further."""

    step: str
    reason: str
    """What is counted, e.g. ``RULE.REASON``."""
    language: str = UNKNOWN_LANGUAGE
    size: int = 0
    """UTF-8 bytes of the text when it was rejected."""
    score: float | None = None
    detail: str = ""
    """What the table of rejects says, where that is more than ``reason``."""
    text: str = ""
    rule: str | None = None
    """The rule that rejected it."""


@dataclass(frozen=True)
class Clean:
    """A record that passed every step."""

    columns: dict[str, Any]
    """The candidate's, but ``uid``."""
    hits: list[Hit]
    """Items of evaluation sets that it overlaps, where these are only reported."""
    dropped: dict[str, int]
    """``RULE.REASON`` -> lines that rules dropped."""


@dataclass
class _Text:
    """A text between steps."""

    text: str
    language: str = UNKNOWN_LANGUAGE

    @cached_property
    def size(self) -> int:
        return len(self.text.encode("utf-8", "surrogatepass"))

    def becomes(self, text: str) -> "_Text":
        """It with another text; itself where the text is the same, so its size is known."""
        return self if text == self.text else _Text(text, self.language)


class Cleaner:
    """Takes records through the steps; one per process and build."""

    def __init__(self, config: BuildConfig, index: Path | None = None) -> None:
        """Read the lists and map the index of the evaluation sets, where there is one.

        Raises:
            CorpusError: a list or the index cannot be read.
        """
        self.config = config
        self._safety = Safety(config.safety)
        self._wants_prose = config.value.wants_prose
        self._index = load_index(index) if index else None

    def clean(self, record: Record | BadRecord, passed: Passed) -> Clean:
        """Take one record through all steps.

        Raises:
            Rejected: a step rejects it; says which and why.
            Contaminated: it overlaps evaluation sets, and such documents are dropped.
        """
        if isinstance(record, BadRecord):
            raise Rejected("read", record.reason.split(":")[0], detail=record.reason)
        page = self._page(record)
        raw = _Text(page.text)
        passed("read", UNKNOWN_LANGUAGE, raw.size)
        normal = self._normalised(raw)
        passed("normalise", UNKNOWN_LANGUAGE, normal.size)
        score = self._identify(normal)
        passed("language", normal.language, normal.size)
        ruled, dropped = self._ruled(record, normal)
        passed("rules", ruled.language, ruled.size)
        found = self._safety.judge(record.url, ruled.text, ruled.language)
        if found:
            raise _refused("safety", found[1].reason, found[1], ruled)
        passed("safety", ruled.language, ruled.size)
        hits = self._hits(ruled)
        passed("decontaminate", ruled.language, ruled.size)
        return Clean(self._candidate(record, page, ruled, score), hits, dropped)

    def _page(self, record: Record) -> Page:
        if record.html is None:
            return Page(text=record.text)
        try:
            return extract_page(record.html, self.config.extract, record.url, record.charset)
        except Exception as error:  # whatever a parser makes of hostile pages
            raise Rejected("read", "not_html", detail=f"not_html: {error}") from error

    def _normalised(self, raw: _Text) -> _Text:
        if raw.size > self.config.max_document_bytes:
            raise Rejected("normalise", "too_long", size=raw.size, score=raw.size, text=raw.text)
        normal = raw.becomes(normalise(raw.text))
        if not normal.text:
            raise Rejected("normalise", "empty", size=raw.size, score=0)
        return normal

    def _identify(self, text: _Text) -> float:
        found = identify(text.text, self.config.language)
        text.language = found.lang
        reason = refusal(found, self.config.language)
        if reason:
            raise _refused("language", reason, Rejection("", found.score), text)
        return found.score

    def _ruled(self, record: Record, text: _Text) -> tuple[_Text, dict[str, int]]:
        """The text without the lines that rules drop, and their number; it passed all rules."""
        rules, language = self.config.rules, text.language
        cleaned = clean(record.source, text.text, language, rules)
        verdict = cleaned.rejection
        if verdict is None:
            judged = cleaned.text if record.judged is None else normalise(record.judged)
            verdict = judge(record.id, record.source, judged, language, rules)
        if verdict:
            rule, rejection = verdict
            raise _refused("rules", f"{rule}.{rejection.reason}", rejection, text, rule=rule)
        if not cleaned.text:
            raise _refused("rules", "no_line_left", Rejection("", 0), text)
        return text.becomes(cleaned.text), cleaned.dropped

    def _hits(self, text: _Text) -> list[Hit]:
        if self._index is None:
            return []
        hits = self._index.hits(text.text, text.language)
        if hits and self.config.decontaminate.action == "drop":
            first = hits[0]
            rejected = _refused("decontaminate", first.benchmark, Rejection("", len(hits)), text)
            rejected.detail = f"{first.benchmark}: {first.item}: {first.ngram}"
            raise Contaminated(rejected, hits)
        return hits

    def _candidate(
        self, record: Record, page: Page, text: _Text, language_score: float
    ) -> dict[str, Any]:
        masked, pii = self._safety.mask(text.text)
        shares = self._safety.columns(masked, text.language)
        return {
            "id": storable(record.id),
            "url": storable(record.url),
            "source": record.source,
            "text": masked,
            "bytes": text.becomes(masked).size,
            "lang": text.language,
            "lang_score": np.float32(language_score),
            "title": storable(record.title or page.title),
            "date": storable(record.date or page.date),
            "licence": storable(record.licence or page.licence),
            "pii": sorted(pii.items()),
            "prose": prose_share(masked) if self._wants_prose else None,
            **{name: _measured(share) for name, share in shares.items()},
        }


class Contaminated(Exception):
    """A record that overlaps evaluation sets."""

    def __init__(self, rejected: Rejected, hits: list[Hit]) -> None:
        super().__init__(rejected.detail)
        self.rejected = rejected
        self.hits = hits


def storable(text: str | None) -> str | None:
    """Text that Parquet takes: bad input may carry unpaired surrogates."""
    return text and text.encode("utf-8", "replace").decode()


def _measured(value: float) -> float | None:
    """Null where a list is not for the document's language."""
    return None if math.isnan(value) else value


def _refused(
    step: str, reason: str, rejection: Rejection, text: _Text, rule: str | None = None
) -> Rejected:
    return Rejected(
        step, reason, text.language, text.size, rejection.value, text=text.text, rule=rule
    )
