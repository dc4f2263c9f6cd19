"""The ledger: what went in and what came out, at every step, for every source and language.

``ledger.json`` is a :class:`Ledger`. While the build runs, every work unit counts its own
records in a :class:`Tally`; tallies add up, in any order, to the ledger.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from corpus.decontaminate.report import BenchmarkReport
from corpus.value.report import ClassifierReport

LEDGER_NAME = "ledger.json"
STEPS = (
    "read",
    "normalise",
    "language",
    "rules",
    "safety",
    "decontaminate",
    "lines",
    "identity",
    "dedup",
)
UNKNOWN_LANGUAGE = "und"
PASSED = ""


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Amount(_Shape):
    """An amount of text."""

    documents: int = 0
    bytes: int = 0
    """UTF-8 bytes of text."""
    tokens: int | None = None
    """Null: the build counts no tokens, the token store does."""


class InOut(_Shape):
    """What reached a step and what passed it."""

    entered: Amount
    passed: Amount


class StepCount(_Shape):
    """One step of the funnel."""

    name: str
    """One of ``STEPS``."""
    entered: Amount
    passed: Amount
    rejected: dict[str, Amount]
    """Reason -> amount; a rule's reasons are ``RULE.REASON``."""
    sources: dict[str, InOut]
    languages: dict[str, InOut]
    """``und`` for documents whose language was not identified yet."""


class Kept(_Shape):
    """The documents that stayed."""

    total: Amount
    splits: dict[str, Amount]
    sources: dict[str, Amount]
    languages: dict[str, Amount]


class SplitReport(_Shape):
    """How well the splits are kept apart; of documents that are kept."""

    groups: int
    """Split groups: what shares much text is in one, and so in one split."""
    linked_documents: int
    """Documents that share their group with another one."""
    largest_group: int
    """Documents in the largest group."""
    validation_documents: int
    validation_bytes: int
    bytes_in_train: int
    """Bytes of validation text in long paragraphs that also stand in a train document."""
    share_in_train: float = Field(ge=0)
    """The same as a share of ``validation_bytes``."""
    documents_mostly_in_train: int
    """Validation documents that have more than half of their text so."""


class Ledger(_Shape):
    """Contents of ``ledger.json``."""

    version: int = 1
    steps: list[StepCount]
    """In the order of ``STEPS``: the funnel."""
    kept: Kept
    classifiers: list[ClassifierReport] = []
    """In the config's order."""
    dropped_lines: dict[str, int] = {}
    """``RULE.REASON`` -> lines that rules dropped from texts, kept or not in the end."""
    skipped: dict[str, int] = {}
    """What sources hold beside documents, such as requests in a web archive, by kind."""
    contamination: list[BenchmarkReport] = []
    """One per evaluation set, in the config's order."""
    split: SplitReport | None = None
    """Null where it was not measured."""
    bad_records: int
    """Records that could not be read."""
    bad_share: float = Field(ge=0, le=1)
    """Of all records."""


class Tally:
    """Counts of (step, outcome, source, language); adds up in any order."""

    def __init__(self) -> None:
        self._documents: Counter[tuple[str, str, str, str]] = Counter()
        self._bytes: Counter[tuple[str, str, str, str]] = Counter()

    def add(
        self, step: str, outcome: str, source: str, language: str, size: int, count: int = 1
    ) -> None:
        """Count documents of ``size`` bytes in all; ``outcome`` is PASSED or the reason."""
        key = (step, outcome, source, language)
        self._documents[key] += count
        self._bytes[key] += size

    def merge(self, rows: Iterable[list]) -> None:
        """Add the ``rows()`` of another tally."""
        for step, outcome, source, language, documents, size in rows:
            self.add(step, outcome, source, language, size, documents)

    def rows(self) -> list[list]:
        """[step, outcome, source, language, documents, bytes] as JSON values, sorted."""
        return [[*key, self._documents[key], self._bytes[key]] for key in sorted(self._documents)]

    def amount(self, step: str, outcome: str | None = None) -> Amount:
        """Documents of one step and outcome (any, where it is None)."""
        return _sum(r for r in self.rows() if r[0] == step and outcome in (None, r[1]))

    def steps(self) -> list[StepCount]:
        """The funnel, in the order of ``STEPS``."""
        return [self.step(name) for name in STEPS]

    def step(self, name: str) -> StepCount:
        """One step of the funnel."""
        rows = [row for row in self.rows() if row[0] == name]
        return StepCount(
            name=name,
            entered=_sum(rows),
            passed=_sum(r for r in rows if r[1] == PASSED),
            rejected=_grouped((r for r in rows if r[1] != PASSED), 1),
            sources=_in_out(rows, 2),
            languages=_in_out(rows, 3),
        )


def kept(tally: Tally) -> Kept:
    """What passed the last step; splits are counted as step ``kept``, outcome SPLIT."""
    rows = [row for row in tally.rows() if row[0] == "kept"]
    return Kept(
        total=_sum(rows),
        splits=_grouped(rows, 1),
        sources=_grouped(rows, 2),
        languages=_grouped(rows, 3),
    )


def read_ledger(path: Path) -> Ledger:
    """Read ``ledger.json``; raises pydantic's ValidationError where it is none."""
    return Ledger.model_validate_json(path.read_text(encoding="utf-8"))


def _sum(rows: Iterable[list]) -> Amount:
    total = Amount()
    for row in rows:
        total.documents += row[4]
        total.bytes += row[5]
    return total


def _grouped(rows: Iterable[list], column: int) -> dict[str, Amount]:
    groups: dict[str, list[list]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return {name: _sum(group) for name, group in sorted(groups.items())}


def _in_out(rows: list[list], column: int) -> dict[str, InOut]:
    entered = _grouped(rows, column)
    passed = _grouped((r for r in rows if r[1] == PASSED), column)
    return {
        name: InOut(entered=amount, passed=passed.get(name, Amount()))
        for name, amount in entered.items()
    }
