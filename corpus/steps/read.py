"""Step ``read``: one shard's records through extraction, language and rules to candidates."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from clusters.units import Unit
from contracts.documents import REJECTED, document_uid
from corpus.config import BuildConfig
from corpus.language import identify
from corpus.ledger import PASSED, UNKNOWN_LANGUAGE, Tally
from corpus.normalise import normalise
from corpus.rules.judge import judge
from corpus.schemas import CANDIDATES, NEGATIVES
from corpus.sources.plan import read_shard
from corpus.sources.record import BadRecord, Record, Shard
from corpus.tables import TableWriter
from corpus.value.prose import prose_share
from corpus.workspace import CANDIDATES_NAME

REJECTED_NAME = "rejected.parquet"
NEGATIVES_NAME = "negatives.parquet"


def read(unit: Unit, shard: Shard, config: BuildConfig) -> None:
    """Read one shard; writes candidates, rejects and examples, fills the unit's tally."""
    with (
        TableWriter(unit.scratch(CANDIDATES_NAME), CANDIDATES) as kept,
        TableWriter(unit.scratch(REJECTED_NAME), REJECTED) as rejected,
        TableWriter(unit.scratch(NEGATIVES_NAME), NEGATIVES) as negatives,
    ):
        reader = _Reader(config, kept, rejected, negatives)
        for record in read_shard(config, shard):
            reader.take(record)
    unit.stats["tally"] = reader.tally.rows()


@dataclass
class _Rejected(Exception):
    """A record that goes no further."""

    step: str
    reason: str
    language: str = UNKNOWN_LANGUAGE
    size: int = 0
    score: float | None = None
    detail: str = ""
    example: str | None = None
    rule: str | None = None


class _Reader:
    """Takes records one by one and writes them where they belong."""

    def __init__(
        self,
        config: BuildConfig,
        kept: TableWriter,
        rejected: TableWriter,
        negatives: TableWriter,
    ) -> None:
        self.config = config
        self.kept = kept
        self.rejected = rejected
        self.negatives = negatives
        self.tally = Tally()

    def take(self, record: Record | BadRecord) -> None:
        """Judge one record."""
        uid = document_uid(record.source, record.key)
        try:
            row = self._judge(record)
        except _Rejected as why:
            self._reject(uid, record, why)
            return
        self.kept.add(row | {"uid": uid, "prose": prose_share(row["text"])})

    def _judge(self, record: Record | BadRecord) -> dict[str, Any]:
        if isinstance(record, BadRecord):
            raise _Rejected("read", record.reason.split(":")[0], detail=record.reason)
        text = self._text(record)
        size = len(text.encode("utf-8", "surrogatepass"))
        self._pass("read", record, UNKNOWN_LANGUAGE, size)
        text = self._normalised(text, size)
        size = len(text.encode())
        self._pass("normalise", record, UNKNOWN_LANGUAGE, size)
        language, score = self._language(text, size)
        self._pass("language", record, language, size)
        self._rules(record, text, language, size)
        self._pass("rules", record, language, size)
        return {
            "id": record.id,
            "url": record.url,
            "source": record.source,
            "text": text,
            "bytes": size,
            "lang": language,
            "lang_score": np.float32(score),
        }

    def _text(self, record: Record) -> str:
        if record.html is None:
            return record.text
        from corpus.extract.html import main_text

        try:
            return main_text(record.html)
        except Exception as error:  # whatever a parser makes of hostile pages
            raise _Rejected("read", "not_html", detail=f"not_html: {error}") from error

    def _normalised(self, text: str, size: int) -> str:
        if size > self.config.max_document_bytes:
            raise _Rejected("normalise", "too_long", size=size, score=size)
        text = normalise(text)
        if not text:
            raise _Rejected("normalise", "empty", size=size, score=0)
        return text

    def _language(self, text: str, size: int) -> tuple[str, float]:
        config = self.config.language
        language, score = identify(text[: config.max_chars])
        if config.keep and language not in config.keep:
            raise _Rejected("language", "other_language", language, size, score)
        if config.keep and score < config.min_score:
            raise _Rejected("language", "uncertain_language", language, size, score)
        return language, score

    def _rules(self, record: Record, text: str, language: str, size: int) -> None:
        judged = text if record.judged is None else normalise(record.judged)
        verdict = judge(record.id, record.source, judged, language, self.config.rules)
        if verdict is None:
            return
        rule, rejection = verdict
        value = self.config.value
        example = text[: value.max_chars] if rule in value.negative_rules else None
        raise _Rejected(
            "rules",
            f"{rule}.{rejection.reason}",
            language,
            size,
            rejection.value,
            example=example,
            rule=rule,
        )

    def _pass(self, step: str, record: Record, language: str, size: int) -> None:
        self.tally.add(step, PASSED, record.source, language, size)

    def _reject(self, uid: int, record: Record | BadRecord, why: _Rejected) -> None:
        self.tally.add(why.step, why.reason, record.source, why.language, why.size)
        self.rejected.add(
            {
                "uid": uid,
                "id": _clean(record.id),
                "url": record.url if isinstance(record, Record) else None,
                "stage": why.step,
                "reason": _clean(why.detail or why.reason),
                "score": why.score,
            }
        )
        if why.example is not None:
            self.negatives.add(
                {
                    "uid": uid,
                    "rule": why.rule,
                    "source": record.source,
                    "lang": why.language,
                    "text": why.example,
                }
            )


def _clean(text: str) -> str:
    """Text that Parquet takes: bad input may carry unpaired surrogates."""
    return text.encode("utf-8", "replace").decode()
