"""What the terminal shows of tools, steps and trajectories."""

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import typer

from agents.tools.registry import TOOLS
from clusters.artifact import Artifact


def print_tools(as_json: bool) -> None:
    """Print name, status, signature and description of every tool."""
    rows = [
        {
            "name": tool.name,
            "status": tool.status.value,
            "arguments": list(tool.arguments.model_fields),
            "description": tool.description,
        }
        for tool in TOOLS.values()
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    for row in rows:
        signature = f"{row['name']}({', '.join(row['arguments'])})"
        typer.echo(f"{signature:28} {row['status']:12} {row['description']}")


def print_trajectories(path: Path, count: int, as_json: bool) -> None:
    """Print the first ``count`` episodes of an artifact and its summary."""
    artifact = Artifact.open(path, "trajectories")
    summary = json.loads(artifact.path("summary.json").read_text(encoding="utf-8"))
    episodes = read_episodes(artifact.path("trajectories.parquet"), count)
    if as_json:
        typer.echo(json.dumps({"summary": summary, "episodes": episodes}, ensure_ascii=False))
        return
    for rows in episodes:
        typer.echo("\n".join(episode_lines(rows)) + "\n")
    typer.echo("\n".join(summary_lines(summary)))


def read_episodes(path: Path, count: int) -> list[list[dict[str, Any]]]:
    """Rows of the first ``count`` episodes of ``trajectories.parquet``, per episode."""
    import pyarrow.parquet as pq

    rows = pq.read_table(path).to_pylist()
    grouped = groupby(rows, key=lambda row: row["episode_id"])
    return [list(group) for _, group in grouped][:count]


def episode_lines(rows: list[dict[str, Any]]) -> list[str]:
    """An episode as lines of text: the question, each step, the reward."""
    question = json.loads(rows[0]["messages"])[-1]["content"]
    lines = [f"episode {rows[0]['episode_id']}", f"  question: {question}"]
    for row in rows:
        reply = json.loads(row["reply"]) if row["reply"] else {}
        call = (row["tool_name"], row["args_json"]) if row["tool_name"] else None
        result = json.loads(row["result_json"]) if row["result_json"] else None
        lines += step_lines(row["turn"], row["status"], reply.get("content"), call, result)
    lines.append(f"  reward: {rows[-1]['reward']:g}")
    return lines


def step_lines(
    index: int,
    status: str,
    said: str | None,
    call: tuple[str, str] | None,
    result: str | None,
) -> list[str]:
    """One step as lines of text, what is absent left out."""
    lines = [f"  step {index}: {status}"]
    if said:
        lines.append(f"    says:   {_one_line(said)}")
    if call:
        lines.append(f"    calls:  {_one_line(f'{call[0]} {call[1]}')}")
    if result is not None:
        lines.append(f"    result: {_one_line(result)}")
    return lines


def _one_line(text: str) -> str:
    """Line ends and control characters spelled out: a model may write any."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """The summary as lines of text."""
    ends = ", ".join(f"{count} {status}" for status, count in summary["ends"].items())
    return [
        _proportion_line("solved", summary["success"]),
        _proportion_line("correct call", summary["correct_call"]),
        f"ends: {ends}; {summary['steps_per_episode']:.2f} steps an episode; "
        f"{summary['tool_calls']} tool calls, {summary['tool_errors']} tool errors",
    ]


def _proportion_line(title: str, part: dict[str, Any]) -> str:
    percent = [100 * part[key] for key in ("rate", "low", "high")]
    return (
        f"{title}: {part['count']} of {part['of']} episodes, {percent[0]:.1f} % "
        f"(95 % interval {percent[1]:.1f} to {percent[2]:.1f})"
    )
