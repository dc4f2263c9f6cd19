"""Extraction of ``web/mixed_pages`` against trafilatura: F1 over annotated snippets.

python -m benchmarks.corpus.mixed_pages

These are the pages ours was tuned on, so this F1 is one of fit; ``train_extraction`` prints the
F1 of the fast extractor on folds it has not seen, and ``extraction`` that of other pages.
"""

from benchmarks.corpus.extraction_sides import Side, both
from benchmarks.corpus.mixed_pages_data import annotated, snippet_score, truth
from benchmarks.report import keep


def main() -> None:
    items = annotated()
    ours, theirs = both("mixed_pages")
    score, reference = _score(ours, items), _score(theirs, items)
    keep(
        "corpus-mixed-pages",
        what="with/without snippets of mixed_pages (493 pages)",
        ours=score["f1"],
        unit="F1",
        peer="trafilatura",
        theirs=reference["f1"],
        ratio=round(score["f1"] / reference["f1"], 3),
        goal="F1 not lower",
        met=score["f1"] >= reference["f1"],
        precision=score["precision"],
        recall=score["recall"],
        peer_precision=reference["precision"],
        peer_recall=reference["recall"],
        pages_per_second=ours.pages_per_second,
        peer_pages_per_second=theirs.pages_per_second,
        careful_share=ours.careful_share,
    )


def _score(side: Side, items: list) -> dict[str, float]:
    by_file = {url.rsplit("/", 1)[-1]: text for url, text in side.texts.items()}
    return snippet_score([by_file[row["file"]] for row in truth("mixed_pages")], items)


if __name__ == "__main__":
    main()
