"""The result of a bench as a table."""

from typing import Any

from rich.console import Console
from rich.table import Table

from serving.bench.summary import Spread


def render(result: dict[str, Any], console: Console) -> None:
    """Print a result of :func:`serving.bench.command.run_bench`."""
    summary = result["summary"]
    console.print(f"{result['target']}: {result['load']}")
    table = Table("", "mean", "p50", "p90", "p99")
    for title, key in (
        ("time to first token, ms", "ttft_ms"),
        ("between tokens, ms", "itl_ms"),
        ("whole answer, ms", "latency_ms"),
    ):
        if summary[key] is not None:
            table.add_row(title, *(f"{value:.1f}" for value in _values(summary[key])))
    console.print(table)
    for line in _lines(result):
        console.print(line)


def _values(spread: dict[str, float]) -> list[float]:
    return [spread[name] for name in Spread.__dataclass_fields__]


def _lines(result: dict[str, Any]) -> list[str]:
    summary, roof = result["summary"], result["roofline"]
    answered = summary["requests"] - summary["failed"]
    lines = [
        f"{answered} of {summary['requests']} requests answered in {summary['seconds']:.2f} s: "
        f"{summary['requests_per_second']:.2f} requests/s, "
        f"{summary['new_tokens_per_second']:.1f} new tokens/s, "
        f"{summary['tokens_per_second']:.1f} tokens/s with prompts",
    ]
    if summary["failed"]:
        lines.append(f"{summary['failed']} failed, the first: {summary['first_error']}")
    cached = result["cached_tokens"]
    if cached is not None:
        share = cached / max(summary["prompt_tokens"], 1)
        lines.append(f"prefix cache: {cached} of {summary['prompt_tokens']} ({share:.0%})")
    if roof is not None:
        lines.append(
            f"decode steps: {roof['steps']} of {roof['rows_per_step']:.1f} rows, "
            f"{roof['step_ms']:.2f} ms; {roof['share']:.0%} of the memory roof "
            f"({roof['weight_bytes'] / 1e6:.0f} MB of weights, "
            f"{roof['cache_bytes_per_step'] / 1e6:.1f} MB of cache, copy at "
            f"{roof['copy_bytes_per_second'] / 1e9:.1f} GB/s)"
        )
    return lines
