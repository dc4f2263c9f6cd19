"""What the terminal shows of a corpus and of token stores."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from clusters.artifact import Artifact, ArtifactError
from corpus.export import Format, export
from corpus.ledger import LEDGER_NAME, Amount, Ledger, StepCount, read_ledger
from corpus.lookup import Fate, find

MOST_REASONS = 12


def print_stats(path: Path, as_json: bool) -> None:
    """Print what an artifact of this room holds, by its kind.

    Raises:
        ArtifactError: no such artifact, or one of another kind.
    """
    artifact = Artifact.open(path)
    show = _STATS.get(artifact.manifest.kind)
    if show is None:
        raise ArtifactError(
            f"{path}: holds {artifact.manifest.kind!r}; stats reads {', '.join(sorted(_STATS))}"
        )
    _print(*show(artifact), as_json)


def _corpus_stats(artifact: Artifact) -> tuple[Any, list[Table]]:
    ledger = _ledger(artifact)
    tables = [_funnel(ledger.steps), _reasons(ledger.steps), _kept(ledger), _split(ledger)]
    return ledger.model_dump(), tables


def _tokens_stats(artifact: Artifact) -> tuple[Any, list[Table]]:
    value = artifact.manifest.stats["splits"]
    return value, [_domains(value)]


def _tokenizer_stats(artifact: Artifact) -> tuple[Any, list[Table]]:
    value = artifact.manifest.stats
    table = _table("Tokenizer", "", "documents read", "bytes read", "held-out bytes per token")
    sample, compression = value.get("sample", {}), value.get("languages", {})
    for name in sorted({*sample, *compression}):
        read = sample.get(name, {})
        per_token = f"{compression[name]:.2f}" if name in compression else "-"
        documents, size = (f"{read.get(key, 0):,}" for key in ("documents", "bytes"))
        table.add_row(name, documents, size, per_token)
    whole = value["validation_bytes_per_token"]
    sums = (f"{value['in'][key]:,}" for key in ("documents", "bytes"))
    table.add_row("in all", *sums, "-" if whole is None else f"{whole:.2f}")
    vocabulary = f"{value['out']['vocabulary']:,} entries"
    table.caption = vocabulary
    return value, [table]


def _selection_stats(artifact: Artifact) -> tuple[Any, list[Table]]:
    from corpus.selection import Selection

    summary = Selection.open(artifact).summary
    table = _table("Mixture", "domain", "documents", "text", "weight", "repeats")
    for name, share in summary.domains.items():
        whole = share.train.documents + share.validation.documents
        size = _megabytes(share.train.bytes + share.validation.bytes)
        table.add_row(name, f"{whole:,}", size, str(share.weight), f"{share.repeats:.2f}")
    return summary.model_dump(), [_funnel(summary.steps), _reasons(summary.steps), table]


_STATS: dict[str, Callable[[Artifact], tuple[Any, list[Table]]]] = {
    "corpus": _corpus_stats,
    "tokens": _tokens_stats,
    "tokenizer": _tokenizer_stats,
    "selection": _selection_stats,
}


def print_fates(key: str, path: Path, as_json: bool) -> None:
    """Print what became of the document of that uid, id or URL.

    Raises:
        ArtifactError: no corpus there, or no such document in it.
    """
    fates = find(Artifact.open(path, "corpus"), key)
    if not fates:
        raise ArtifactError(
            f"{path}: no kept or rejected document has the uid, id or URL {key!r}; "
            "ids are case-sensitive, and a source that was never read leaves no trace"
        )
    _print([fate.model_dump() for fate in fates], [_fate(fate) for fate in fates], as_json)


def print_export(
    path: Path, out: Path, form: Format, split: str | None, selection: Path | None, as_json: bool
) -> None:
    """Export an artifact and print what was written.

    Raises:
        ArtifactError: see ``corpus.export.export``.
    """
    written = export(path, out, form, split, selection)
    table = Table(title=f"written to {out}", show_header=False)
    for name, value in written.items():
        table.add_row(
            name, f"{value:,}" if isinstance(value, int) else f"{value['tokens']:,} tokens"
        )
    _print(written, [table], as_json)


def _print(value: Any, tables: list[Table], as_json: bool) -> None:
    if as_json:
        print(json.dumps(value, ensure_ascii=False))
        return
    console = Console()
    for table in tables:
        if table.row_count:
            console.print(table)


def _ledger(artifact: Artifact) -> Ledger:
    path = artifact.path(LEDGER_NAME)
    try:
        return read_ledger(path)
    except ValueError as error:
        raise ArtifactError(f"{path}: not a ledger: {error}") from error


def _funnel(steps: Sequence[StepCount]) -> Table:
    table = _table("Funnel", "step", "documents in", "out", "lost", "text in", "out", "lost")
    for step in steps:
        before, after = step.entered, step.passed
        table.add_row(
            step.name,
            f"{before.documents:,}",
            f"{after.documents:,}",
            _lost(before.documents, after.documents),
            _megabytes(before.bytes),
            _megabytes(after.bytes),
            _lost(before.bytes, after.bytes),
        )
    return table


def _reasons(steps: Sequence[StepCount]) -> Table:
    table = _table("Commonest reasons of rejection", "step", "reason", "documents", "text")
    rows = [(a, s.name, reason) for s in steps for reason, a in s.rejected.items()]
    rows.sort(key=lambda row: (-row[0].documents, row[1], row[2]))
    for amount, step, reason in rows[:MOST_REASONS]:
        table.add_row(step, reason, f"{amount.documents:,}", _megabytes(amount.bytes))
    return table


def _kept(ledger: Ledger) -> Table:
    table = _table("Kept", "", "", "documents", "text")
    kept = ledger.kept
    groups: list[tuple[str, dict[str, Amount]]] = [
        ("split", kept.splits),
        ("source", kept.sources),
        ("language", kept.languages),
        ("in all", {"": kept.total}),
    ]
    for group, amounts in groups:
        for name, amount in amounts.items():
            table.add_row(group, name, f"{amount.documents:,}", _megabytes(amount.bytes))
    return table


def _split(ledger: Ledger) -> Table:
    table = _table("Validation text that stands in train documents too", "", "documents", "text")
    split = ledger.split
    if split and split.validation_bytes:
        table.add_row(
            "validation", f"{split.validation_documents:,}", _megabytes(split.validation_bytes)
        )
        table.add_row("in train too", "", f"{100 * split.share_in_train:.1f} %")
        table.add_row("more than half of it", f"{split.documents_mostly_in_train:,}", "")
    return table


def _domains(stats: dict[str, Any]) -> Table:
    table = _table("Tokens", "split", "domain", "documents", "text", "tokens", "bytes per token")
    for split, totals in stats.items():
        domains = totals["domains"] if totals["domains"] else {}
        for name, counts in [*domains.items(), ("in all", totals)]:
            if not counts.get("tokens"):
                continue
            table.add_row(
                split,
                name,
                f"{counts['documents']:,}",
                _megabytes(counts["bytes"]),
                f"{counts['tokens']:,}",
                f"{counts['bytes'] / counts['tokens']:.2f}",
            )
    return table


def _fate(fate: Fate) -> Table:
    table = Table(title="kept" if fate.kept else "rejected", show_header=False)
    lists = {"kept", "scores", "passed", "members", "masked"}
    for name, value in fate.model_dump(exclude=lists, exclude_none=True).items():
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    if fate.passed:
        table.add_row("passed", ", ".join(fate.passed))
    for name, count in fate.masked.items():
        table.add_row("masked", f"{count} x {name}")
    for member in fate.members:
        what = "kept" if member.kept else member.reason or "rejected"
        table.add_row("of its cluster", f"{member.uid} {member.id} ({what})")
    for name, score in fate.scores.items():
        table.add_row(name, "none" if score is None else f"{score:.4g}")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for column in columns:
        words = column in ("step", "reason", "split", "domain", "")
        table.add_column(column, justify="left" if words else "right")
    return table


def _lost(before: int, after: int) -> str:
    return f"{100 * (before - after) / before:.1f} %" if before else "-"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.2f} MB"
