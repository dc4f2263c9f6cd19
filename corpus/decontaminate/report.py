"""What decontamination found, per evaluation set; parts add up in any order."""

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict

from corpus.decontaminate.index import Coverage, Hit


class BenchmarkReport(BaseModel):
    """One evaluation set."""

    model_config = ConfigDict(extra="forbid")

    benchmark: str
    items: int
    unchecked_items: int
    """Too short to be looked for, or without an n-gram of their own."""
    contaminated_items: int
    """Items that some document overlaps."""
    documents: int
    """Documents that overlap an item of the set."""
    examples: list[str]
    """Item and words of the first hits, by name."""


class Contamination:
    """Counts hits; a part's ``rows`` merge into the whole."""

    def __init__(self) -> None:
        self._documents: dict[str, int] = {}
        self._items: dict[tuple[str, str], str] = {}

    def add(self, hits: Iterable[Hit]) -> None:
        """Count one document's hits."""
        hits = list(hits)
        for benchmark in {hit.benchmark for hit in hits}:
            self._documents[benchmark] = self._documents.get(benchmark, 0) + 1
        for hit in hits:
            self._see((hit.benchmark, hit.item), hit.ngram)

    def merge(self, rows: Mapping[str, list]) -> None:
        """Add the ``rows()`` of another part."""
        for benchmark, documents in rows["documents"]:
            self._documents[benchmark] = self._documents.get(benchmark, 0) + documents
        for benchmark, item, ngram in rows["items"]:
            self._see((benchmark, item), ngram)

    def rows(self) -> dict[str, list]:
        """Counts and items as JSON values, sorted. Bounded by the evaluation sets' items."""
        return {
            "documents": [list(row) for row in sorted(self._documents.items())],
            "items": [[*key, ngram] for key, ngram in sorted(self._items.items())],
        }

    def report(self, coverage: Mapping[str, Coverage], examples: int = 5) -> list[BenchmarkReport]:
        """One report per evaluation set, in the order of ``coverage``."""
        return [self._of(name, one, examples) for name, one in coverage.items()]

    def _see(self, key: tuple[str, str], ngram: str) -> None:
        """The least n-gram stands for an item, whatever the order of parts."""
        self._items[key] = min(ngram, self._items.get(key, ngram))

    def _of(self, name: str, coverage: Coverage, examples: int) -> BenchmarkReport:
        found = sorted((item, ngram) for (b, item), ngram in self._items.items() if b == name)
        return BenchmarkReport(
            benchmark=name,
            items=coverage.items,
            unchecked_items=coverage.unchecked,
            contaminated_items=len(found),
            documents=self._documents.get(name, 0),
            examples=[f"{item}: {ngram}" for item, ngram in found[:examples]],
        )
