"""Extraction of ``web/article_extraction`` against trafilatura: F1 and pages a second.

python -m benchmarks.corpus.extraction

The score is that of scrapinghub's article-extraction-benchmark: tokens are runs of word
characters; a page's true, false and missed 4-token shingles are counted with their multiplicity
and divided by their sum, so that long pages weigh no more; precision and recall are means over
pages, F1 is of these means. Ours was tuned on ``web/mixed_pages`` alone.
"""

import re
from collections import Counter
from collections.abc import Mapping
from statistics import mean

from benchmarks.corpus.extraction_sides import both
from benchmarks.corpus.mixed_pages_data import truth
from benchmarks.report import keep

MAX_LOSS = 0.002
MIN_SPEEDUP = 2.0
SHINGLE = 4
_TOKEN = re.compile(r"\w+")


def shingles(text: str) -> Counter[tuple[str, ...]]:
    """How often each run of four tokens occurs; one short run where there are fewer."""
    tokens = _TOKEN.findall(text)
    if not tokens:
        return Counter()
    starts = range(max(1, len(tokens) - SHINGLE + 1))
    return Counter(tuple(tokens[i : i + SHINGLE]) for i in starts)


def page_counts(true: str, found: str) -> tuple[float, float, float]:
    """Shares of right, wrong and missed shingles of a page; they sum to 1."""
    expected, actual = shingles(true), shingles(found)
    right = wrong = missed = 0
    for shingle in set(expected) | set(actual):
        right += min(expected[shingle], actual[shingle])
        wrong += max(0, actual[shingle] - expected[shingle])
        missed += max(0, expected[shingle] - actual[shingle])
    whole = right + wrong + missed
    return (right / whole, wrong / whole, missed / whole) if whole else (0.0, 0.0, 0.0)


def f1(articles: Mapping[str, str], texts: Mapping[str, str]) -> float:
    """F1 over pages; every page of the truth counts, found or not."""
    counts = [page_counts(article, texts.get(url, "")) for url, article in articles.items()]
    precision = mean(r / (r + w) if r + w else 0.0 for r, w, m in counts if r + w)
    recall = mean(r / (r + m) for r, w, m in counts if r + m)
    return 2 * precision * recall / (precision + recall)


def main() -> None:
    articles = {row["url"]: row["article"] for row in truth("article_extraction")}
    ours, theirs = both("article_extraction")
    score, reference = f1(articles, ours.texts), f1(articles, theirs.texts)
    speedup = ours.pages_per_second / theirs.pages_per_second
    keep(
        "corpus-extraction",
        what="main text of article_extraction (181 pages), 1 process",
        ours=ours.pages_per_second,
        unit="pages/s of CPU time",
        peer="trafilatura",
        theirs=theirs.pages_per_second,
        ratio=round(speedup, 2),
        goal=f"F1 at most {MAX_LOSS} below at {MIN_SPEEDUP} times the rate",
        met=score >= reference - MAX_LOSS and speedup >= MIN_SPEEDUP,
        f1=round(score, 4),
        peer_f1=round(reference, 4),
        careful_share=ours.careful_share,
    )


if __name__ == "__main__":
    main()
