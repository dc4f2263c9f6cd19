"""The report holds what the artifact holds, escapes it, needs no network, and fits a phone."""

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clusters.artifact import Artifact, ArtifactError
from corpus.cli import app
from corpus.decontaminate.report import BenchmarkReport
from corpus.ledger import PASSED, STEPS, Ledger, SplitReport, Tally, kept
from corpus.report.figures import figures
from corpus.report.page import render
from corpus.report.samples import Sample
from corpus.value.report import ClassifierReport

MakeCorpus = Callable[..., Artifact]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NASTY = "<script>alert(1)</script>"


def ledger() -> Ledger:
    tally = Tally()
    for language, count in (("en", 40), ("zh", 12)):
        for step in STEPS:
            tally.add(step, PASSED, "web", language, count * 2000, count)
        tally.add("rules", "gopher.short", "web", language, 900, 3)
        tally.add("kept", "train", "web", language, count * 2000, count)
    tally.add("language", NASTY, "mail", "und", 100, 7)
    return Ledger(
        steps=tally.steps(),
        kept=kept(tally),
        classifiers=[
            ClassifierReport(name="quality", heldout_auc=0.9812, calibration="platt"),
            ClassifierReport(name="toxic", skipped="12 examples of 100"),
        ],
        contamination=[
            BenchmarkReport(
                benchmark="gsm8k",
                items=1319,
                unchecked_items=3,
                contaminated_items=17,
                documents=21,
                examples=[],
            )
        ],
        split=SplitReport(
            groups=9,
            linked_documents=2,
            largest_group=2,
            validation_documents=5,
            validation_bytes=10_000,
            bytes_in_train=123,
            share_in_train=0.0123,
            documents_mostly_in_train=1,
        ),
        bad_records=4,
        bad_share=0.01,
    )


@pytest.fixture
def corpus(make_corpus: MakeCorpus) -> Artifact:
    rng = random.Random()
    documents = [
        {"id": str(i), "source": "web", "text": "t", "quality": rng.random(),
         "dup_count": rng.choice([1, 1, 2, 5, 400])}
        for i in range(300)
    ]  # fmt: skip
    return make_corpus(documents, ledger=ledger().model_dump())


def page_of(corpus: Artifact) -> str:
    from dataclasses import replace

    samples = [
        Sample(step="kept", reason="", uid=1, source="web", lang="en", text="A kept one. " * 30),
        Sample(step="rules", reason="gopher.short", uid=2, source="web", lang="en", text=NASTY),
    ]
    return render(replace(figures(corpus), samples=samples))


def test_everything_is_on_the_page(corpus: Artifact) -> None:
    page = page_of(corpus)
    for expected in ("52", "rules: gopher.short", "0.9812", "12 examples of 100", "gsm8k", "17",
                     "1.23 %", "A kept one.", "Duplicate clusters", "zh"):  # fmt: skip
        assert expected in page
    assert NASTY not in page
    assert "&lt;script&gt;" in page
    assert page == page_of(corpus)
    assert not re.search(r'(src|href)="|url\(|@import|<script', page)


def test_histograms_and_clusters_count_every_document(corpus: Artifact) -> None:
    found = figures(corpus)
    assert [one.name for one in found.histograms] == ["lang_score", "quality"]
    assert all(sum(one.counts) + one.missing == 300 for one in found.histograms)
    assert sum(found.clusters.values()) == 300
    assert found.clusters["11-100"] == found.clusters["3"] == 0
    assert found.clusters["over 100"] > 0


def test_the_command_writes_the_file(corpus: Artifact, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    result = CliRunner().invoke(app, ["report", str(corpus.directory), "--out", str(out)])
    assert result.exit_code == 0
    assert out.read_text().startswith("<!doctype html>")


def test_a_broken_ledger_is_named(make_corpus: MakeCorpus) -> None:
    broken = make_corpus([{"id": "a", "source": "s", "text": "t"}], ledger={"steps": 3})
    with pytest.raises(ArtifactError, match="unreadable"):
        figures(broken)


@pytest.mark.slow
def test_it_fits_a_phone_and_a_desk_in_a_browser(corpus: Artifact, tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    path = tmp_path / "report.html"
    path.write_text(page_of(corpus), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width, scheme in ((390, "dark"), (1200, "light")):
            context = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme
            )
            view = context.new_page()
            asked: list[str] = []
            view.on("request", lambda request: asked.append(request.url))  # noqa: B023
            view.goto(path.as_uri())
            assert asked == [path.as_uri()]
            assert view.evaluate("document.documentElement.scrollWidth") <= width
            assert view.locator("svg rect").count() > 40
            view.locator("details").first.click()
            view.screenshot(path=str(tmp_path / f"{scheme}.png"), full_page=True)
            colour = view.evaluate("getComputedStyle(document.body).backgroundColor")
            assert colour == {"dark": "rgb(22, 24, 27)", "light": "rgb(251, 250, 247)"}[scheme]
        browser.close()
