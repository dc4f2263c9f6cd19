"""Floors of the scores on real pages; the benchmarks measure them beside trafilatura."""

from pathlib import Path

import pytest

from benchmarks.corpus.extraction import f1, page_counts
from benchmarks.corpus.mixed_pages_data import annotated, pages, snippet_score, truth
from corpus.extract.config import ExtractConfig
from corpus.extract.page import extract_page

CONFIG = ExtractConfig(metadata=False)


def test_page_counts() -> None:
    assert page_counts("a b c d e", "a b c d e") == (1, 0, 0)
    assert page_counts("a b c d e", "a b c d x") == (1 / 3, 1 / 3, 1 / 3)
    assert page_counts("a b c d", "") == (0, 0, 1)
    assert page_counts("", "a b") == (0, 1, 0)
    assert page_counts("a b c d a b c d", "a b c d")[0] == 1 / 5  # multiplicity counts


@pytest.mark.data
def test_articles(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKSTONE_DATA", str(data_dir))
    articles = {row["url"]: row["article"] for row in truth("article_extraction")}
    found = pages("article_extraction")
    texts = {url: extract_page(found[url], CONFIG).text for url in articles}
    assert f1(articles, texts) >= 0.955


@pytest.mark.data
def test_snippets_of_mixed_pages(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKSTONE_DATA", str(data_dir))
    items = annotated()
    texts = [extract_page(item.page, CONFIG).text for item in items]
    assert snippet_score(texts, items)["f1"] >= 0.935
