"""A run as a picture: loss, speed, gradient, and where the time went."""

import html
import io
from pathlib import Path
from typing import Any

from clusters.config import ConfigError
from trainer.observe.goodput import LOST
from trainer.observe.report import RunReport

_SMOOTH = 25
"""Steps over which the loss and the gradient norm are averaged."""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{font-family: sans-serif; margin: 2em}} td {{padding: .1em 1em .1em 0}}
svg {{max-width: 100%; height: auto}}</style></head>
<body><h1>{title}</h1><table>{rows}</table>
{picture}
</body></html>
"""


def draw(report: RunReport, path: Path, rows: list[tuple[str, str]]) -> None:
    """Write the run's picture to ``.svg``, ``.png``, or a page ``.html`` with ``rows`` as table.

    Raises:
        ConfigError: nothing to draw yet, or no such file can be written.
    """
    if not report.steps:
        raise ConfigError(f"--plot {path}: no step has been taken yet")
    title = f"{report.name} {report.artifact[:12]}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".html":
            cells = "".join(
                f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>"
                for name, value in rows
            )
            picture = _render(report, "svg").decode()
            picture = picture[picture.index("<svg") :]
            page = _PAGE.format(title=html.escape(title), rows=cells, picture=picture)
            path.write_text(page, encoding="utf-8")
        else:
            path.write_bytes(_render(report, path.suffix.removeprefix(".")))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--plot {path}: {error}; name a .svg, .png or .html") from None


def _render(report: RunReport, kind: str) -> bytes:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "run"  # the same run gives the same file
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 7), layout="constrained")
    try:
        _loss(axes[0][0], report)
        _speed(axes[0][1], report)
        _gradient(axes[1][0], report)
        _time(axes[1][1], report)
        out = io.BytesIO()
        figure.savefig(out, format=kind, metadata={"Date": None} if kind == "svg" else None)
        return out.getvalue()
    finally:
        plt.close(figure)


def _loss(axes: Any, report: RunReport) -> None:
    _curve(axes, report, "loss", "training")
    for domain in sorted({d for entry in report.validations for d in entry["losses"]}):
        points = [(v["step"], v["losses"].get(domain)) for v in report.validations]
        known = [(step, loss) for step, loss in points if loss is not None]
        axes.plot(*zip(*known, strict=True), marker="o", label=f"validation, {domain}")
    axes.set_xlabel("step")
    axes.set_ylabel("nats per token")
    axes.legend()


def _speed(axes: Any, report: RunReport) -> None:
    begin = report.starts[0]
    minutes = [(step["time"] - begin) / 60 for step in report.steps]
    devices = report.header.get("devices", 1)
    rates = [step["tokens_per_second"] / devices for step in report.steps]
    axes.plot(minutes, rates, ".", markersize=3, label="measured")
    expected = report.header.get("expected_tokens_per_second_per_device")
    if expected:
        axes.axhline(expected, linestyle="--", color="grey", label="planned")
    for start in report.starts[1:]:
        axes.axvline((start - begin) / 60, color="tab:red", linewidth=1, label="started again")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("minutes")
    axes.set_ylabel("tokens per second and device")
    axes.legend()


def _gradient(axes: Any, report: RunReport) -> None:
    _curve(axes, report, "grad_norm", "gradient norm before clipping")
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.legend()


def _time(axes: Any, report: RunReport) -> None:
    parts = sorted(report.goodput.parts.items(), key=lambda item: item[1])
    colours = ["tab:red" if name in LOST else "tab:blue" for name, _ in parts]
    axes.barh([name for name, _ in parts], [s / 60 for _, s in parts], color=colours)
    axes.set_xlabel("minutes; red: lost to failures")
    axes.set_title(f"goodput {report.goodput.share:.1%}")


def _curve(axes: Any, report: RunReport, key: str, label: str) -> None:
    """A faint line of every step, and its mean over the last steps."""
    known = [(s["step"], s[key]) for s in report.steps if s.get(key) is not None]
    steps, values = [step for step, _ in known], [value for _, value in known]
    axes.plot(steps, values, color="black", alpha=0.2, linewidth=0.8)
    means = [
        sum(values[max(0, i + 1 - _SMOOTH) : i + 1]) / min(i + 1, _SMOOTH)
        for i in range(len(values))
    ]
    axes.plot(steps, means, color="black", label=label)
