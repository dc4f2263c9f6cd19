"""The plan and its validation, as tables and as JSON values."""

from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from trainer.plan.layout import Layout
from trainer.plan.search import Choice, Question, Refusal

GIB = 2.0**30


def as_json(question: Question, answers: list[Choice | Refusal]) -> dict[str, Any]:
    """The plan; memory in bytes, times in seconds, rates in tokens per GPU per second."""
    shape, cluster = question.shape, question.cluster
    return {
        "model": shape.name,
        "parameters": shape.parameters,
        "flops_per_token": shape.flops_per_token(question.length),
        "hardware": {
            "gpu": cluster.gpu.name,
            "gpus_per_node": cluster.gpus_per_node,
            "node_bandwidth_gbit_s": cluster.node_bandwidth * 8 / 1e9,
            "memory": cluster.gpu.memory,
        },
        "sequence_length": question.length,
        "plans": [_answer(answer, efficiencies(answers)) for answer in answers],
    }


def efficiencies(answers: list[Choice | Refusal]) -> dict[int, float]:
    """Tokens per GPU per second over those on the fewest GPUs, by GPU count."""
    choices = [answer for answer in answers if isinstance(answer, Choice)]
    return {choice.layout.gpus: choice.tokens / choices[0].tokens for choice in choices}


def _answer(answer: Choice | Refusal, efficiency: dict[int, float]) -> dict[str, Any]:
    if isinstance(answer, Refusal):
        return {"fits": False, **asdict(answer)}
    layout = answer.layout
    held = answer.ledger
    return {
        "fits": True,
        "gpus": layout.gpus,
        "global_batch": answer.question.sequences(layout.gpus),
        "layout": asdict(layout),
        "memory": {**asdict(held), "total": held.total},
        "step_seconds": {**asdict(answer.step), "total": answer.step.total},
        "tokens_per_gpu_per_second": answer.tokens,
        "mfu": answer.mfu,
        "scaling_efficiency": efficiency[layout.gpus],
    }


_NOTHING = "no single change; more GPUs, shorter sequences and a larger GPU together may"


def print_plan(question: Question, answers: list[Choice | Refusal]) -> None:
    """Print layouts and rates, the memory ledger, and what does not fit."""
    console = Console()
    shape, cluster = question.shape, question.cluster
    console.print(
        f"{shape.name}: {shape.parameters / 1e9:.2f} B parameters, sequences of "
        f"{question.length:,} tokens, on {cluster.gpu.name} x {cluster.gpus_per_node} per node, "
        f"{cluster.node_bandwidth * 8 / 1e9:.0f} Gbit/s between nodes",
        highlight=False,
    )
    choices = [answer for answer in answers if isinstance(answer, Choice)]
    side_by_side = max(1, (console.width - _LABEL_WIDTH) // _COLUMN_WIDTH)
    for first in range(0, len(choices), side_by_side):
        console.print(_table(choices[first : first + side_by_side], efficiencies(list(choices))))
    for answer in answers:
        if isinstance(answer, Refusal):
            console.print(f"does not fit: {answer.reason}", highlight=False, soft_wrap=True)
            console.print(f"  would fit: {'; '.join(answer.remedies) or _NOTHING}")


LEDGER_PARTS = (
    "parameters",
    "gradients",
    "optimiser",
    "activations",
    "logits",
    "buffers",
    "fragmentation",
)
_LABEL_WIDTH, _COLUMN_WIDTH = 25, 13
"""Characters of the table's labels, and of a column."""


def _table(choices: list[Choice], efficiency: dict[int, float]) -> Table:
    """A column for each GPU count: how it is laid out, what a GPU holds, how fast it is."""
    table = Table("GPUs", box=box.SIMPLE_HEAD)
    for choice in choices:
        table.add_column(f"{choice.layout.gpus:,}", justify="right", no_wrap=True)
    columns = [_column(choice, efficiency) for choice in choices]
    for number, (label, ends) in enumerate(_LABELS):
        table.add_row(label, *(cells[number] for cells in columns), end_section=ends)
    return table


_LABELS = [
    *((name, False) for name in ("sequences per step", "ZeRO", "micro batch x passes")),
    *((name, False) for name in ("tensor parallel", "sequence parallel", "recompute")),
    ("offload", True),
    *((f"GiB {name}", False) for name in LEDGER_PARTS),
    *(("GiB in all", False), ("GiB of the host", True)),
    *((name, False) for name in ("seconds of a step", "of it exposed", "tokens/s/GPU", "MFU")),
    ("scaling efficiency", False),
]
"""Rows of the table, and whether a line follows."""


def _column(choice: Choice, efficiency: dict[int, float]) -> list[str]:
    layout, held, step = choice.layout, choice.ledger, choice.step
    memory = [getattr(held, name) for name in LEDGER_PARTS] + [held.total, held.host]
    return [
        f"{choice.question.sequences(layout.gpus):,}",
        sharding(layout),
        f"{layout.micro_sequences} x {layout.accumulation}",
        str(layout.tensor),
        str(layout.sequence),
        layout.recompute,
        "yes" if layout.offload else "no",
        *(f"{part / GIB:.1f}" for part in memory),
        f"{step.total:.2f}",
        f"{(step.exposed + step.waiting) / step.total:.1%}",
        f"{choice.tokens:,.0f}",
        f"{choice.mfu:.1%}",
        f"{efficiency[layout.gpus]:.1%}",
    ]


def sharding(layout: Layout) -> str:
    """``1 over 8``: ZeRO stage and the ranks that share one copy."""
    return "0" if layout.zero == 0 else f"{layout.zero} over {layout.shard_group}"


def print_validation(report: dict[str, Any]) -> None:
    """Print each row's error and the summary, with and without fitted constants."""
    console = Console()
    plain = report["without_fitted_constants"]
    both = zip(report["rows"], plain["rows"], strict=True)
    for source, rows in groupby(both, key=lambda pair: pair[0]["source"]):
        console.print(_errors(f"{source}: tokens per GPU per second", rows))
    for line in _summary(report, plain):
        console.print(line, highlight=False, soft_wrap=True)


def _errors(title: str, rows: Iterable[tuple[dict[str, Any], dict[str, Any]]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("group", overflow="fold")
    table.add_column("use", no_wrap=True)
    for name in ("GPUs", "published", "predicted", "error", "unfitted"):
        table.add_column(name, justify="right", no_wrap=True)
    for row, other in rows:
        table.add_row(
            row["group"],
            row["use"],
            str(row["gpus"]),
            f"{row['measured']:,.0f}",
            f"{row['predicted']:,.0f}",
            f"{row['error']:+.1%}",
            f"{other['error']:+.1%}",
        )
    return table


def _summary(report: dict[str, Any], plain: dict[str, Any]) -> list[str]:
    lines = [f"warning: {text}" for text in report["warnings"]]
    for used in report["constants"]:
        kind = "fitted" if used["fitted"] else "default"
        lines.append(
            f"{used['source']} ({used['gpu']}, {used['node_bandwidth_gbit_s']:.0f} Gbit/s): {kind} "
            f"hop {used['hop_us']:.1f} us, network share {used['network_share']:.2f}"
        )
    if report["mean_error"] is None:
        return [*lines, "no `predict` rows, so no error to sum up"]
    for name, part in (("fitted", report), ("without fitted constants", plain)):
        lines.append(
            f"predict rows, {name}: mean error {part['mean_error']:.2%}, "
            f"largest {part['max_error']:.2%}"
        )
    return lines
