"""The figures of the report, each from the part it shows."""

from collections.abc import Callable, Sequence
from itertools import cycle

from matplotlib.axes import Axes

from evaluation.report.corpus import CorpusPart
from evaluation.report.drawing import COLOURS, QUIET, Plot, draw
from evaluation.report.episodes import EpisodesPart
from evaluation.report.scores import ScoresPart
from evaluation.report.training import Curves, Fall
from evaluation.summary import Result

REASONS_SHOWN = 12
_ROW_INCHES = 0.3
_BAND_INCHES = 0.62


def funnel(corpus: CorpusPart) -> Plot:
    """Documents that passed each step."""
    names = ["found", *(step.name for step in corpus.steps)]
    first = corpus.steps[0].documents_in if corpus.steps else 0
    counts = [first, *(step.documents_out for step in corpus.steps)]

    def paint(axes: Axes) -> None:
        bars = axes.barh(names, counts, color=COLOURS[0], height=0.7)
        axes.bar_label(bars, [f"{count:,}" for count in counts], padding=4)
        axes.invert_yaxis()
        axes.margins(x=0.14)
        axes.set_xlabel("documents left after the step")

    alt = "Bars: " + ", ".join(f"{n} {c:,}" for n, c in zip(names, counts, strict=True)) + "."
    return draw("funnel", "The funnel", alt, paint, height=0.9 + _ROW_INCHES * len(names))


def rejections(corpus: CorpusPart) -> Plot | None:
    """Documents rejected, by reason; None where none were."""
    shown = corpus.reasons[:REASONS_SHOWN]
    if not shown:
        return None
    names = [f"{reason.step}: {reason.reason}" for reason in shown]
    counts = [reason.documents for reason in shown]

    def paint(axes: Axes) -> None:
        bars = axes.barh(names, counts, color=COLOURS[1], height=0.7)
        axes.bar_label(bars, [f"{count:,}" for count in counts], padding=4)
        axes.invert_yaxis()
        axes.margins(x=0.16)
        axes.set_xlabel("documents rejected")

    alt = "Bars: " + ", ".join(f"{n} {c:,}" for n, c in zip(names, counts, strict=True)) + "."
    height = 0.9 + _ROW_INCHES * len(names)
    return draw("rejections", "Why documents were rejected", alt, paint, height=height)


def curves(one: Curves, fall: Fall | None, unigram: float | None) -> Plot:
    """Training and validation loss of one stage, beside untrained and unigram."""

    def paint(axes: Axes) -> None:
        if one.train:
            axes.plot(*zip(*one.train, strict=True), color=QUIET, lw=0.9, label="train")
        for colour, (domain, points) in zip(COLOURS, sorted(one.validation.items())):  # noqa: B905
            steps, losses = zip(*points, strict=True)
            axes.plot(steps, losses, color=colour, marker="o", ms=3.5, label=f"held out: {domain}")
        _line(axes, fall.overall.first if fall else None, "before training", ":")
        _line(axes, unigram, "unigram", "--")
        axes.set_xlabel("step")
        axes.set_ylabel("loss, nats per token")
        axes.set_ylim(bottom=0)
        axes.figure.legend(loc="outside upper center", ncols=3)

    alt = f"Loss curves of {one.label} over {len(one.train)} steps."
    if fall is not None:
        ends = fall.overall
        alt += f" Held-out loss fell from {ends.first:.2f} to {ends.last:.2f} nats per token."
    if unigram is not None:
        alt += f" A unigram model has {unigram:.2f}."
    return draw(f"loss-{one.label}", f"Loss: {one.label}", alt, paint, height=3.4)


def heldout(scores: ScoresPart) -> Plot | None:
    """Held-out loss of every contestant, per source; None where it was not measured."""
    groups = list(dict.fromkeys(result.group for result in scores.losses))
    if not groups:
        return None
    return _points(
        "heldout",
        "Loss on held-out text",
        scores.losses,
        rows={group: group for group in groups},
        key=lambda result: result.group,
        xlabel="nats per token, 95 % interval (lower is better)",
    )


def accuracies(scores: ScoresPart) -> Plot | None:
    """Every accuracy with its interval and its chance level; None where there is none."""
    if not scores.accuracies:
        return None
    rows = {_row(r): f"{r.benchmark}\n{r.metric.replace('_', ' ')}" for r in scores.accuracies}
    chance = {_row(r): r.chance or 0.0 for r in scores.accuracies}
    controls = {(f"{c.benchmark}/{c.metric}", c.engine): c.mean for c in scores.summary.controls}

    def extra(axes: Axes) -> None:
        for index, row in enumerate(rows):
            axes.plot([chance[row]] * 2, [index - 0.42, index + 0.42], color=QUIET, ls="--", lw=1.2)
        for marker, engine in (("*", "oracle"), ("x", "uniform")):
            means = [controls[(row, engine)] for row in rows]
            axes.scatter(
                means, range(len(rows)), marker=marker, color=QUIET, s=36, label=engine, zorder=3
            )
        axes.plot([], [], color=QUIET, ls="--", lw=1.2, label="chance")
        axes.set_xlim(-0.04, 1.04)

    return _points(
        "accuracy",
        "Accuracy",
        scores.accuracies,
        rows=rows,
        key=_row,
        xlabel="share right, 95 % interval",
        extra=extra,
    )


def episodes(part: EpisodesPart) -> Plot:
    """How episodes ended, and the share that succeeded."""
    names, counts = list(part.endings), list(part.endings.values())
    total = sum(counts)

    def paint(axes: Axes) -> None:
        shares = [count / total for count in counts]
        bars = axes.barh([f"ended: {n}" for n in names], shares, color=COLOURS[5], height=0.6)
        axes.bar_label(bars, [str(count) for count in counts], padding=4)
        mean, low, high = part.success.mean, part.success.low or 0.0, part.success.high or 0.0
        error = [[mean - low], [high - mean]]
        axes.barh(["success"], [mean], xerr=error, ecolor=QUIET, color=COLOURS[2], height=0.6)
        axes.set_xlim(0, 1.12)
        axes.invert_yaxis()
        axes.set_xlabel(f"share of {total} episodes")

    ends = ", ".join(f"{count} ended {name}" for name, count in part.endings.items())
    alt = f"Success in {part.success.mean:.0%} of {total} episodes; {ends}."
    height = 1.2 + _ROW_INCHES * (len(names) + 1)
    return draw("episodes", "How episodes ended", alt, paint, height=height)


def _row(result: Result) -> str:
    return f"{result.benchmark}/{result.metric}"


def _line(axes: Axes, height: float | None, label: str, style: str) -> None:
    if height is not None:
        axes.axhline(height, color=COLOURS[4], ls=style, lw=1.2, label=f"{label} {height:.2f}")


def _points(
    name: str,
    title: str,
    results: Sequence[Result],
    *,
    rows: dict[str, str],
    key: Callable[[Result], str],
    xlabel: str,
    extra: Callable[[Axes], None] | None = None,
) -> Plot:
    """A dot with its interval per contestant, in one band per row."""
    labels = list(dict.fromkeys(result.label for result in results))
    places = {row: index for index, row in enumerate(rows)}

    def paint(axes: Axes) -> None:
        for order, (label, colour) in enumerate(zip(labels, cycle(COLOURS), strict=False)):
            own = [result for result in results if result.label == label]
            offset = (order - (len(labels) - 1) / 2) * 0.7 / len(labels)
            axes.errorbar(
                [result.mean for result in own],
                [places[key(result)] + offset for result in own],
                xerr=_reach(own),
                fmt="o", ms=5, capsize=3, color=colour, label=label,
            )  # fmt: skip
        if extra is not None:
            extra(axes)
        axes.set_yticks(range(len(rows)), list(rows.values()))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(xlabel)
        axes.figure.legend(loc="outside upper center", ncols=4)

    said = [f"{r.label} {rows[key(r)].replace(chr(10), ' ')} {r.mean:.3f}" for r in results]
    height = 1.2 + _BAND_INCHES * len(rows)
    return draw(name, title, f"{title}: {'; '.join(said)}.", paint, height=height)


def _reach(results: Sequence[Result]) -> list[list[float]]:
    """Distances from the mean to the interval's ends, shape (2, results)."""
    down = [r.mean - (r.mean if r.low is None else r.low) for r in results]
    up = [(r.mean if r.high is None else r.high) - r.mean for r in results]
    return [down, up]
