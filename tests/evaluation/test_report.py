"""The page, rendered from real artifacts and opened in a headless browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clusters.artifact import Artifact
from clusters.execute import run_stage
from clusters.registry import resolve
from evaluation.report.build import ReportConfig

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip
PLOTS = {
    "plot-funnel", "plot-rejections", "plot-loss-pretrain", "plot-loss-sft",
    "plot-heldout", "plot-accuracy", "plot-episodes",
}  # fmt: skip


@pytest.fixture(scope="module")
def inputs(
    corpus: Artifact,
    tokens: Artifact,
    checkpoints: list[Artifact],
    scores: Artifact,
    quantized: Artifact,
    trajectories: Artifact,
) -> dict[str, list[Artifact]]:
    return {
        "corpus": [corpus], "tokens": [tokens], "checkpoints": checkpoints,
        "quantized": [quantized], "scores": [scores], "trajectories": [trajectories],
    }  # fmt: skip


@pytest.fixture(scope="module")
def report(store: Path, inputs: dict[str, list[Artifact]]) -> Path:
    made = run_stage(resolve("evaluation.report"), ReportConfig(), inputs, store=store)
    return made.path("report.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (360, "dark")])
def test_all_plots_are_visible(
    report: Path, browser: Any, tmp_path: Path, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    problems: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    figures = page.locator("figure")
    assert {f.get_attribute("id") for f in figures.all()} == PLOTS
    for figure in figures.all():
        assert figure.is_visible()
        assert figure.get_attribute("aria-label")
        box = figure.locator("svg").bounding_box()
        assert box["width"] > 0.7 * min(width, 500)
        assert box["height"] > 60
        drawn = figure.locator("svg path").count()
        assert drawn > 10
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert problems == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    page.screenshot(path=tmp_path / "report.png", full_page=True)
    assert (tmp_path / "report.png").stat().st_size > 20_000
    page.close()


def test_ids_are_unique(report: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    page.close()


def test_same_bytes_again(
    store: Path, inputs: dict[str, list[Artifact]], report: Path, tmp_path: Path
) -> None:
    again = run_stage(
        resolve("evaluation.report"), ReportConfig(examples=3), inputs, store=tmp_path
    )
    assert again.path("report.html").read_bytes() == report.read_bytes()


def test_text_of_models_and_documents_is_escaped(report: Path) -> None:
    html = report.read_text(encoding="utf-8")
    assert "bad <b>$x$" not in html
    assert "bad &lt;b&gt;$x$" in html


def test_the_fall_of_the_loss_is_shown_by_source_and_as_a_whole(report: Path) -> None:
    html = report.read_text(encoding="utf-8")
    assert "held-out loss, weighted by tokens" in html
    assert "<td>all, weighted by tokens</td>" in html
    assert "<td>docs</td>" in html
    assert "<td>docstrings</td>" in html
