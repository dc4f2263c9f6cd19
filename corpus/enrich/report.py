"""What recall and completion found, as Markdown."""

from collections.abc import Iterable
from typing import Any


def recall_page(report: dict[str, Any]) -> str:
    """The page ``recall.md``."""
    found = report["recalled"]
    lines = [
        "# Recall",
        "",
        f"{report['seeds']:,} seeds found {found['documents']:,} documents, "
        f"{found['bytes'] / 1e6:,.2f} MB.",
        "",
        *_rounds(report.get("rounds", [])),
        *_bm25(report.get("bm25")),
        "## By source",
        "",
        *_table(
            ("source", "documents", "recalled", "share"),
            ([s["source"], s["documents"], s["recalled"], s["share"]] for s in report["sources"]),
        ),
    ]
    if report["hosts"]:
        lines += ["## Hosts of which much is recalled", ""]
        lines += _table(
            ("host", "documents", "recalled", "share"),
            ([h["host"], h["documents"], h["recalled"], h["share"]] for h in report["hosts"]),
        )
    if report["examples"]:
        lines += ["## Best examples", ""]
        lines += _table(
            ("score", "source", "id", "text"),
            (
                [f"{e['score']:.3f}", e["source"], e["id"], e.get("text", "")]
                for e in report["examples"]
            ),
        )
    return "\n".join(lines)


def complete_page(report: dict[str, Any]) -> str:
    """The page ``completion.md``."""
    columns = ("target_share", "target_bytes", "bytes", "short_bytes", "found_bytes")
    rows = (
        [row["domain"], *(row[name] for name in columns), row["still_short_bytes"]]
        for row in report["domains"]
    )
    head = ("domain", "target share", "target bytes", "had", "short", "found", "still short")
    return "\n".join(["# Completion", "", *_table(head, rows)])


def _rounds(rounds: list[dict[str, Any]]) -> list[str]:
    if not rounds:
        return []
    rows = (
        [
            entry["round"],
            entry["train_positives"],
            entry["train_negatives"],
            entry["promoted"],
            _figure(entry["heldout_auc"]),
            _figure(entry["heldout_calibration_error"]),
            entry["recalled"],
        ]
        for entry in rounds
    )
    head = ("round", "positives", "negatives", "of them promoted", "held-out AUC",
            "calibration error", "recalled")  # fmt: skip
    return ["## Classifier, by round", "", *_table(head, rows)]


def _bm25(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    head = ("documents", "terms in seeds", "hits", "documents hit", "recalled")
    row = [found[k] for k in ("documents", "vocabulary", "hits", "found", "recalled")]
    return ["## BM25", "", *_table(head, [row])]


def _table(head: tuple[str, ...], rows: Iterable[list[Any]]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return [*("| " + " | ".join(map(_cell, line)) + " |" for line in lines), ""]


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return " ".join(str(value).replace("|", "\\|").split())


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
