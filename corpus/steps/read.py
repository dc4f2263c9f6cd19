"""Step ``read``: the records of one shard to candidates, rejects, examples and samples."""

from collections import Counter
from functools import lru_cache, partial
from pathlib import Path

from clusters.units import Unit
from contracts.documents import REJECTED, document_uid
from corpus.config import BuildConfig
from corpus.decontaminate.report import Contamination
from corpus.ledger import PASSED, Tally
from corpus.report.samples import SAMPLES_NAME, Samples, write_samples
from corpus.schemas import NEGATIVES, candidates_schema
from corpus.sources.plan import read_shard
from corpus.sources.record import BadRecord, Record, Shard
from corpus.steps.cleaner import Cleaner, Contaminated, Rejected, storable
from corpus.tables import TableWriter
from corpus.workspace import CANDIDATES_NAME

REJECTED_NAME = "rejected.parquet"
NEGATIVES_NAME = "negatives.parquet"


def read(unit: Unit, shard: Shard, config: BuildConfig, seed: int, index: Path | None) -> None:
    """Read one shard; fills the unit's tally and what it found of evaluation sets.

    Args:
        unit: where to write.
        shard: what is read.
        config: how.
        seed: chooses the samples.
        index: of the evaluation sets, where there are any.
    """
    samples = Samples(seed)
    with (
        TableWriter(unit.scratch(CANDIDATES_NAME), candidates_schema(config.safety)) as kept,
        TableWriter(unit.scratch(REJECTED_NAME), REJECTED) as rejected,
        TableWriter(unit.scratch(NEGATIVES_NAME), NEGATIVES) as negatives,
    ):
        reader = _Reader(config, index, kept, rejected, negatives, samples)
        skipped: Counter[str] = Counter()
        for record in read_shard(config, shard, skipped):
            reader.take(record)
    write_samples(unit.scratch(SAMPLES_NAME), samples)
    unit.stats["tally"] = reader.tally.rows()
    unit.stats["contamination"] = reader.contamination.rows()
    unit.stats["skipped"] = dict(sorted(skipped.items()))
    unit.stats["stored_bytes"] = shard.bytes
    unit.stats["dropped_lines"] = dict(sorted(reader.dropped_lines.items()))


@lru_cache(maxsize=1)
def _cleaner(config: str, index: Path | None) -> Cleaner:
    return Cleaner(BuildConfig.model_validate_json(config), index)


class _Reader:
    """Takes records one by one and writes them where they belong."""

    def __init__(
        self,
        config: BuildConfig,
        index: Path | None,
        kept: TableWriter,
        rejected: TableWriter,
        negatives: TableWriter,
        samples: Samples,
    ) -> None:
        self.config = config
        self.cleaner = _cleaner(config.model_dump_json(), index)
        self.kept = kept
        self.rejected = rejected
        self.negatives = negatives
        self.samples = samples
        self.tally = Tally()
        self.contamination = Contamination()
        self.dropped_lines: Counter[str] = Counter()

    def take(self, record: Record | BadRecord) -> None:
        """Judge one record."""
        uid = document_uid(record.source, record.key)
        try:
            found = self.cleaner.clean(record, partial(self._passed, record.source))
        except Rejected as why:
            self._reject(uid, record, why)
        except Contaminated as overlap:
            self.contamination.add(overlap.hits)
            self._reject(uid, record, overlap.rejected)
        else:
            self.contamination.add(found.hits)
            self.dropped_lines.update(found.dropped)
            self.kept.add(found.columns | {"uid": uid})

    def _passed(self, source: str, step: str, language: str, size: int) -> None:
        self.tally.add(step, PASSED, source, language, size)

    def _reject(self, uid: int, record: Record | BadRecord, why: Rejected) -> None:
        url = storable(record.url) if isinstance(record, Record) else None
        self.tally.add(why.step, why.reason, record.source, why.language, why.size)
        self.rejected.add(
            {
                "uid": uid,
                "id": storable(record.id),
                "url": url,
                "stage": why.step,
                "reason": storable(why.detail or why.reason),
                "score": why.score,
            }
        )
        self.samples.offer(
            why.step,
            why.reason,
            uid,
            source=record.source,
            lang=why.language,
            text=why.text or why.detail,
            url=url,
            score=why.score,
        )
        value = self.config.value
        if why.rule in value.negative_rules:
            self.negatives.add(
                {
                    "uid": uid,
                    "rule": why.rule,
                    "source": record.source,
                    "lang": why.language,
                    "text": why.text[: value.max_chars],
                }
            )
