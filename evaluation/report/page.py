"""Fills the page's template. Everything that models or documents wrote is escaped."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from evaluation.report.contents import Contents

_FOLDER = Path(__file__).parent


def render(contents: Contents) -> str:
    """The whole page as HTML."""
    style = (_FOLDER / "style.css").read_text(encoding="utf-8")
    svgs = {name: Markup(plot.svg) for name, plot in contents.plots.items()}
    return _template().render(page=contents, style=Markup(style), svgs=svgs)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["share"] = lambda value: f"{value:.1%}"
    environment.filters["figure"] = _figure
    environment.filters["size"] = _size
    return environment.get_template("page.html")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if abs(value) >= 1 else f"{value:.3f}"


def _size(value: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{value / scale:.1f} {unit}"
    return f"{value} B"
