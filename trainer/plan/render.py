"""The plan and its validation, as tables and as JSON values."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from trainer.plan.layout import Layout
from trainer.plan.memory import Ledger
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
    if choices:
        console.print(_rates(choices))
        console.print(_memory(choices))
    for answer in answers:
        if isinstance(answer, Refusal):
            console.print(f"does not fit: {answer.reason}", highlight=False, soft_wrap=True)
            console.print(f"  would fit: {'; '.join(answer.remedies) or 'nothing tried'}")


def _rates(choices: list[Choice]) -> Table:
    table = Table(title="Layout and speed")
    for name in ("GPUs", "ZeRO", "micro x acc.", "TP", "SP", "recompute", "offload"):
        table.add_column(name, justify="right")
    for name in ("GiB", "step s", "exposed", "tokens/s/GPU", "MFU", "efficiency"):
        table.add_column(name, justify="right")
    efficiency = efficiencies(list(choices))
    for choice in choices:
        layout = choice.layout
        table.add_row(
            str(layout.gpus),
            sharding(layout),
            f"{layout.micro_sequences} x {layout.accumulation}",
            str(layout.tensor),
            str(layout.sequence),
            layout.recompute,
            "yes" if layout.offload else "no",
            f"{choice.ledger.total / GIB:.1f}",
            f"{choice.step.total:.2f}",
            f"{(choice.step.exposed + choice.step.waiting) / choice.step.total:.1%}",
            f"{choice.tokens:,.0f}",
            f"{choice.mfu:.1%}",
            f"{efficiency[layout.gpus]:.1%}",
        )
    return table


def sharding(layout: Layout) -> str:
    """``1 over 8``: ZeRO stage and the ranks that share one copy."""
    return "0" if layout.zero == 0 else f"{layout.zero} over {layout.shard_group}"


LEDGER_PARTS = (
    "parameters",
    "gradients",
    "optimiser",
    "activations",
    "logits",
    "buffers",
    "fragmentation",
)


def _memory(choices: list[Choice]) -> Table:
    table = Table(title="Memory per GPU, GiB")
    table.add_column("GPUs", justify="right")
    for name in (*LEDGER_PARTS, "total", "host"):
        table.add_column(name, justify="right")
    for choice in choices:
        held: Ledger = choice.ledger
        cells = [getattr(held, name) for name in LEDGER_PARTS] + [held.total, held.host]
        table.add_row(str(choice.layout.gpus), *(f"{cell / GIB:.1f}" for cell in cells))
    return table


def print_validation(report: dict[str, Any]) -> None:
    """Print each row's error and the summary, with and without fitted constants."""
    console = Console()
    table = Table(title="Tokens per GPU per second, predicted and published")
    for name in ("source", "group", "use"):
        table.add_column(name)
    for name in ("GPUs", "published", "predicted", "error", "unfitted"):
        table.add_column(name, justify="right")
    plain = report["without_fitted_constants"]
    for row, other in zip(report["rows"], plain["rows"], strict=True):
        table.add_row(
            row["source"],
            row["group"],
            row["use"],
            str(row["gpus"]),
            f"{row['measured']:,.0f}",
            f"{row['predicted']:,.0f}",
            f"{row['error']:+.1%}",
            f"{other['error']:+.1%}",
        )
    console.print(table)
    for line in _summary(report, plain):
        console.print(line, highlight=False, soft_wrap=True)


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
