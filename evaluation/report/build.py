"""Stage ``evaluation.report``: everything a run made, on one page."""

from pathlib import Path
from typing import Any

from pydantic import Field

from clusters.config import StageConfig
from clusters.failpoints import failpoint
from clusters.stage import StageContext

PAGE = "report.html"


class ReportConfig(StageConfig):
    """What the page shows."""

    title: str = "Inkstone"
    """Heading of the page; the run's name stands beside it."""
    examples: int = Field(3, ge=0, le=50)
    """Right samples, and wrong ones, per benchmark; example ids per reason and source."""
    timings: bool = False
    """Show each stage's wall time. The page's bytes then differ from run to run."""


def run(context: StageContext) -> dict[str, Any]:
    """Write ``report.html``: one file that asks for nothing over the network."""
    from evaluation.report.contents import gather
    from evaluation.report.page import render

    inputs = {role: list(artifacts) for role, artifacts in context.inputs.items()}
    contents = gather(inputs, context.config, context.run)
    html = render(contents)
    failpoint("evaluation.report.before_write")
    path: Path = context.out.path(PAGE)
    path.write_text(html, encoding="utf-8")
    return {
        "in": {role: len(artifacts) for role, artifacts in inputs.items()},
        "out": {"plots": len(contents.plots), "bytes": path.stat().st_size},
    }
