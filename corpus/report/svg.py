"""Two small charts as inline SVG, coloured by the page's style: bars across, and columns."""

from collections.abc import Mapping, Sequence
from html import escape

_ROW = 26
_LABEL = 196
_VALUE = 124
_WIDTH = 460


def bars(values: Mapping[str, float], texts: Mapping[str, str] | None = None) -> str:
    """One bar across per name, as long as its share of the greatest value."""
    top = max([*values.values(), 0]) or 1
    room = _WIDTH - _LABEL - _VALUE
    rows = []
    for row, (name, value) in enumerate(values.items()):
        y = row * _ROW
        width = room * value / top
        text = (texts or {}).get(name) or f"{value:,.0f}"
        rows.append(
            f'<text class="name" x="{_LABEL - 8}" y="{y + 17}">{escape(_short(name))}</text>'
            f'<rect x="{_LABEL}" y="{y + 4}" width="{width:.1f}" height="{_ROW - 8}" rx="3"/>'
            f'<text x="{_LABEL + width + 7:.1f}" y="{y + 17}">{escape(text)}</text>'
        )
    return _svg("".join(rows), max(1, len(values)) * _ROW)


def columns(counts: Sequence[int], low: float, high: float) -> str:
    """A histogram between ``low`` and ``high``."""
    height, foot = 120, 20
    top = max([*counts, 1])
    step = _WIDTH / max(1, len(counts))
    rects = "".join(
        f'<rect x="{i * step + 1:.1f}" y="{height * (1 - count / top):.1f}" '
        f'width="{max(1.0, step - 2):.1f}" height="{height * count / top:.1f}"/>'
        for i, count in enumerate(counts)
    )
    ends = (
        f'<text x="0" y="{height + 16}">{low:.3g}</text>'
        f'<text class="name" x="{_WIDTH}" y="{height + 16}">{high:.3g}</text>'
    )
    return _svg(rects + ends, height + foot)


def _svg(inner: str, height: int) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">{inner}</svg>'


def _short(name: str) -> str:
    """The end of a long name: rules of one family differ there."""
    return name if len(name) <= 25 else "\u2026" + name[-24:]
