"""The report of a corpus as one HTML page: no script, no network, light and dark."""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from clusters.artifact import Artifact
from corpus.ledger import InOut, Ledger, StepCount
from corpus.report.figures import Figures, Histogram, figures
from corpus.report.samples import KEPT, Sample
from corpus.report.svg import bars, columns

STYLE = Path(__file__).with_name("style.css")
MOST_REASONS = 24


def write_report(corpus: Path, out: Path) -> Path:
    """Write the report of the corpus artifact at ``corpus`` to the file ``out``; returns it.

    Raises:
        ArtifactError: no corpus there, or its ledger cannot be read.
    """
    out.write_text(render(figures(Artifact.open(corpus, "corpus"))), encoding="utf-8")
    return out


def render(found: Figures) -> str:
    """The page; equal figures give equal bytes."""
    ledger = found.ledger
    sections = [
        _cards(ledger),
        _funnel(ledger.steps),
        _by("language", [(step.name, step.languages) for step in ledger.steps]),
        _by("source", [(step.name, step.sources) for step in ledger.steps]),
        _reasons(ledger.steps),
        _classifiers(ledger),
        _histograms(found.histograms),
        _clusters(found.clusters),
        _contamination(ledger),
        _split(ledger),
        _samples(found.samples),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Corpus {escape(found.name)}</title><style>{STYLE.read_text()}</style></head>"
        f'<body><h1>Corpus</h1><p class="soft">{escape(found.name)}</p>'
        + "\n".join(section for section in sections if section)
        + "</body></html>\n"
    )


def _cards(ledger: Ledger) -> str:
    first, kept = ledger.steps[0].entered if ledger.steps else None, ledger.kept.total
    cards = [(f"{kept.documents:,}", "documents kept"), (_size(kept.bytes), "of text kept")]
    if first is not None:
        read = ledger.steps[0].passed.bytes
        cards += [
            (f"{first.documents:,}", "records read"),
            (_share(kept.documents, first.documents), "of the records kept"),
            (_share(kept.bytes, read), "of the extracted text kept"),
        ]
    cards.append((f"{ledger.bad_records:,}", "records that could not be read"))
    inner = "".join(f'<div class="card"><b>{b}</b><span>{s}</span></div>' for b, s in cards)
    return f'<div class="cards">{inner}</div>'


def _funnel(steps: Sequence[StepCount]) -> str:
    seen = [step for step in steps if step.entered.documents]
    chart = bars(
        {step.name: step.passed.documents for step in seen},
        {s.name: f"{s.passed.documents:,} ({_share(s.passed.documents, s.entered.documents)})"
         for s in seen},
    )  # fmt: skip
    rows = [
        [
            step.name,
            f"{step.entered.documents:,}",
            f"{step.passed.documents:,}",
            _share(step.passed.documents, step.entered.documents),
            _size(step.entered.bytes),
            _size(step.passed.bytes),
        ]
        for step in seen
    ]
    head = ["step", "documents in", "out", "kept", "text in", "out"]
    note = "Documents that passed each step, and their share of those that reached it."
    return _section("Funnel", f'<p class="soft">{note}</p>' + chart + _table(head, rows))


def _by(what: str, steps: Sequence[tuple[str, dict[str, InOut]]]) -> str:
    """Share of documents that each step kept, a row per language or source."""
    seen = [(name, groups) for name, groups in steps if groups]
    sizes: dict[str, int] = {}
    for _, groups in seen:
        for group, amount in groups.items():
            sizes[group] = max(sizes.get(group, 0), amount.entered.documents)
    rows = []
    for group in sorted(sizes, key=lambda name: (-sizes[name], name)):
        cells = []
        for _, groups in seen:
            one = groups.get(group)
            cells.append(
                f"{_share(one.passed.documents, one.entered.documents)} of "
                f"{one.entered.documents:,}" if one else ""
            )  # fmt: skip
        rows.append([group, *cells])
    return _section(
        f"Kept by {what}", _table([what, *(name for name, _ in seen)], rows) if rows else ""
    )


def _reasons(steps: Sequence[StepCount]) -> str:
    found = [
        (f"{step.name}: {reason}", amount.documents, amount.bytes)
        for step in steps
        for reason, amount in step.rejected.items()
    ]
    found.sort(key=lambda row: (-row[1], row[0]))
    rows = [[name, f"{count:,}", _size(size)] for name, count, size in found]
    table = _table(["reason", "documents", "text"], rows)
    chart = bars({name: count for name, count, _ in found[:MOST_REASONS]})
    return _section("Reasons of rejection", chart + _folded("All reasons", table) if rows else "")


def _classifiers(ledger: Ledger) -> str:
    rows = []
    for one in ledger.classifiers:
        if one.skipped is not None:
            rows.append([one.name, f"none: {one.skipped}", "", "", "", ""])
            continue
        rows.append(
            [
                one.name,
                f"{one.train_positives:,} / {one.train_negatives:,}",
                _number(one.heldout_auc),
                _number(one.left_out_auc),
                one.calibration or "",
                f"{_number(one.uncalibrated_error)} to {_number(one.heldout_calibration_error)}",
            ]
        )
    head = ["column", "examples +/-", "held-out AUC", "AUC, other sources", "calibration",
            "calibration error"]  # fmt: skip
    return _section("Classifiers", _table(head, rows) if rows else "")


def _histograms(found: Sequence[Histogram]) -> str:
    plots = []
    for one in found:
        missing = f", {one.missing:,} without" if one.missing else ""
        plots.append(
            f'<div><h3>{escape(one.name)} <span class="soft">{sum(one.counts):,}'
            f"{missing}</span></h3>{columns(one.counts, one.low, one.high)}</div>"
        )
    inner = f'<div class="plots">{"".join(plots)}</div>'
    return _section("Scores of the kept documents", inner if plots else "")


def _clusters(found: dict[str, int]) -> str:
    note = "Records that each kept document stands for, itself included."
    chart = bars({name: count for name, count in found.items() if count})
    inner = f'<p class="soft">{note}</p>{chart}'
    return _section("Duplicate clusters", inner if any(found.values()) else "")


def _contamination(ledger: Ledger) -> str:
    rows = [
        [
            one.benchmark,
            f"{one.items:,}",
            f"{one.unchecked_items:,}",
            f"{one.contaminated_items:,}",
            f"{one.documents:,}",
        ]
        for one in ledger.contamination
    ]
    head = ["evaluation set", "items", "not checked", "found in the text", "documents rejected"]
    return _section("Contamination", _table(head, rows) if rows else "")


def _split(ledger: Ledger) -> str:
    split = ledger.split
    if split is None or not split.validation_bytes:
        return ""
    rows = [
        ["validation documents", f"{split.validation_documents:,}"],
        ["validation text", _size(split.validation_bytes)],
        ["of it in train documents too", f"{100 * split.share_in_train:.2f} %"],
        ["documents mostly in train", f"{split.documents_mostly_in_train:,}"],
        ["largest group", f"{split.largest_group:,} documents"],
    ]
    return _section("Split", _table(["", ""], rows))


def _samples(samples: Sequence[Sample]) -> str:
    inner = ""
    for (step, reason), group in groupby(samples, key=lambda s: (s.step, s.reason)):
        title = "kept" if reason == KEPT else f"{step}: {reason}"
        inner += _folded(title, "".join(_quote(sample) for sample in group))
    return _section("Examples", inner)


def _quote(sample: Sample) -> str:
    about = [str(sample.uid), sample.source, sample.lang, sample.url or ""]
    if sample.score is not None:
        about.append(f"score {sample.score:.4g}")
    head = " · ".join(escape(part) for part in about if part)
    return f"<blockquote><small>{head}</small>{escape(sample.text)}</blockquote>"


def _section(title: str, inner: str) -> str:
    return f"<section><h2>{title}</h2>{inner}</section>" if inner else ""


def _folded(title: str, inner: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{inner}</details>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="wide"><table>{line(head, "th")}{body}</table></div>'


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _size(size: int) -> str:
    return f"{size / 1e9:,.2f} GB" if size >= 1e9 else f"{size / 1e6:,.2f} MB"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
