"""The agents part of a report: how episodes ended, and two of them whole."""

import json
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from clusters.artifact import Artifact
from evaluation.statistics import Estimate, proportion

COLUMNS = ["episode_id", "turn", "messages", "reply", "result_json", "status", "reward"]


@dataclass(frozen=True)
class Said:
    """One message of an episode."""

    role: str
    text: str


@dataclass(frozen=True)
class Episode:
    """One whole episode."""

    episode_id: str
    status: str
    reward: float
    turns: int
    said: list[Said]


@dataclass(frozen=True)
class EpisodesPart:
    """What the report says about trajectories."""

    success: Estimate
    endings: dict[str, int]
    """Status of the last turn -> episodes."""
    turns: float
    """Mean per episode."""
    shown: list[Episode]


def read_episodes(trajectories: Artifact) -> EpisodesPart | None:
    """Read a trajectories artifact; None where it holds no episode."""
    table = pq.read_table(trajectories.path("trajectories.parquet"), columns=COLUMNS)
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        grouped.setdefault(row["episode_id"], []).append(row)
    if not grouped:
        return None
    episodes = [_episode(sorted(rows, key=lambda r: r["turn"])) for rows in grouped.values()]
    endings: dict[str, int] = {}
    for episode in episodes:
        endings[episode.status] = endings.get(episode.status, 0) + 1
    return EpisodesPart(
        success=proportion(sum(e.reward == 1.0 for e in episodes), len(episodes)),
        endings=dict(sorted(endings.items())),
        turns=sum(e.turns for e in episodes) / len(episodes),
        shown=_two(episodes),
    )


def _two(episodes: list[Episode]) -> list[Episode]:
    """One that succeeded and one that failed, where there are both."""
    right = [e for e in episodes if e.reward == 1.0]
    wrong = [e for e in episodes if e.reward != 1.0]
    return (right[:1] + wrong[:1] + right[1:2] + wrong[1:2])[:2]


def _episode(rows: list[dict[str, Any]]) -> Episode:
    last = rows[-1]
    said = [_said(message) for message in json.loads(last["messages"])]
    if last["reply"] is not None:
        said.append(_said(json.loads(last["reply"])))
    if last["result_json"] is not None:
        said.append(Said("result", str(json.loads(last["result_json"]))))
    return Episode(last["episode_id"], last["status"], last["reward"] or 0.0, len(rows), said)


def _said(message: dict[str, Any]) -> Said:
    calls = [
        f"{call['function']['name']}({call['function']['arguments']})"
        for call in message.get("tool_calls") or []
    ]
    text = "\n".join([message.get("content") or "", *calls]).strip()
    return Said(message["role"], text)
