"""Figures as inline SVG: same data, same bytes; readable on light and dark pages."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

COLOURS = ("#3b6ea5", "#c8553d", "#4a8f6d", "#c99a2e", "#8463a8", "#5f6b7a")
QUIET = "#8a929c"
"""Axes, grids and reference lines: visible on white and on black."""

_SETTINGS: dict[Any, Any] = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": QUIET,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True)
class Plot:
    """One figure of the page."""

    id: str
    """Of its element on the page, ``plot-...``."""
    title: str
    alt: str
    """What a reader who cannot see it should know."""
    svg: str


def draw(
    name: str, title: str, alt: str, paint: Callable[[Axes], None], *, height: float = 3.0
) -> Plot:
    """Let ``paint`` fill one axes and return the figure.

    Args:
        name: unique on the page; also salts the ids inside the SVG.
        title: heading above the figure.
        alt: text alternative.
        paint: draws on the axes.
        height: inches, at a width of 6.
    """
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        figure = Figure(figsize=(6.0, height), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.add_subplot())
        buffer = io.StringIO()
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", metadata=metadata)
    return Plot(f"plot-{name}", title, alt, _inline(buffer.getvalue(), name))


def _inline(svg: str, name: str) -> str:
    """The bare <svg> element, scaled by the page, its ids unique there."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href=")#', rf"\1#{name}-", svg)
    return re.sub(r"url\(#", f"url(#{name}-", svg)
