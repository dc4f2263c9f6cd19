"""From the units' tallies to the ledger, the checks on it, and the stage's stats."""

from collections import Counter
from typing import Any

from corpus.decontaminate.report import BenchmarkReport
from corpus.errors import CorpusError
from corpus.ledger import Ledger, SplitReport, Tally, kept
from corpus.value.report import ClassifierReport


def merged(stats: list[dict[str, Any]]) -> Tally:
    """The tallies of units, added up."""
    tally = Tally()
    for unit in stats:
        tally.merge(unit.get("tally", []))
    return tally


def added_up(stats: list[dict[str, Any]], key: str) -> dict[str, int]:
    """The counts that units keep under a key, over all units, by name."""
    total: Counter[str] = Counter()
    for unit in stats:
        total.update(unit[key])
    return dict(sorted(total.items()))


def bad_records(tally: Tally) -> tuple[int, int]:
    """(records that could not be read, all records)."""
    entered = tally.amount("read").documents
    return entered - tally.amount("read", "").documents, entered


def check_bad_share(tally: Tally, limit: float) -> None:
    """Raise CorpusError where more than ``limit`` of the records could not be read."""
    bad, entered = bad_records(tally)
    if bad > limit * entered:
        raise CorpusError(
            f"{bad} of {entered} records could not be read ({losses(tally)}), more than "
            f"max_bad_share {limit:g}; mend the sources or raise max_bad_share"
        )


def losses(tally: Tally, most: int = 5) -> str:
    """The commonest reasons of rejection, for a message."""
    reasons = [
        (amount.documents, f"{step.name}.{reason}")
        for step in tally.steps()
        for reason, amount in step.rejected.items()
    ]
    found = sorted(reasons, key=lambda item: (-item[0], item[1]))[:most]
    return ", ".join(f"{reason}: {count}" for count, reason in found) or "no record was found"


def build_ledger(
    tally: Tally,
    reports: list[ClassifierReport],
    split: SplitReport | None = None,
    contamination: list[BenchmarkReport] | None = None,
) -> Ledger:
    """The ledger of a finished build.

    Raises:
        CorpusError: no document was kept.
    """
    documents = kept(tally)
    if documents.total.documents == 0:
        raise CorpusError(f"no document is kept ({losses(tally)}); loosen rules and dedup")
    bad, entered = bad_records(tally)
    return Ledger(
        steps=tally.steps(),
        kept=documents,
        classifiers=reports,
        contamination=contamination or [],
        split=split,
        bad_records=bad,
        bad_share=bad / max(entered, 1),
    )


def stats_of_ledger(ledger: Ledger) -> dict[str, Any]:
    """What the manifest says of the build."""
    first, total = ledger.steps[0].entered, ledger.kept.total
    return {
        "in": {"records": first.documents, "bytes": first.bytes},
        "out": {"documents": total.documents, "bytes": total.bytes},
        "bad_records": ledger.bad_records,
        "splits": {name: amount.documents for name, amount in ledger.kept.splits.items()},
        "validation_share_in_train": ledger.split.share_in_train if ledger.split else None,
        "funnel": {step.name: step.passed.documents for step in ledger.steps},
        "heldout_auc": {report.name: report.heldout_auc for report in ledger.classifiers},
        "not_trained": {r.name: r.skipped for r in ledger.classifiers if r.skipped},
    }
