"""The whole stage: a real endpoint, a random model that writes nonsense."""

import json

import pyarrow.parquet as pq

from clusters.artifact import Artifact
from contracts.trajectory import TRAJECTORY
from tests.agents.rollout_driver import CONFIG


def test_nonsense_is_recorded_as_it_is(played: Artifact) -> None:
    table = pq.read_table(played.path("trajectories.parquet"))
    assert table.schema == TRAJECTORY
    rows = table.to_pylist()
    assert len({row["episode_id"] for row in rows}) == CONFIG.episodes
    for row in rows:
        assert 1 <= len(row["output_ids"]) <= CONFIG.max_tokens
        assert len(row["logprobs"]) == len(row["loss_mask"]) == len(row["output_ids"])
        assert all(value <= 0 for value in row["logprobs"])
        assert row["prompt_ids"]
        assert row["status"] in ("final", "truncated", "tool_error")
        assert row["tool_ms"] is None
    summary = json.loads(played.path("summary.json").read_text())
    assert summary["episodes"] == sum(summary["ends"].values()) == CONFIG.episodes
    assert summary["success"]["count"] == sum(row["reward"] == 1.0 for row in rows)
    assert played.manifest.stats["out"] == {"episodes": CONFIG.episodes, "steps": len(rows)}


def test_nothing_that_never_repeats_is_in_the_data(played: Artifact) -> None:
    text = str(pq.read_table(played.path("trajectories.parquet")).to_pylist())
    text += played.path("summary.json").read_text()
    assert "127.0.0.1" not in text
    assert "/tmp" not in text
    logged = played.directory.parent.parent / "logs" / "stage" / "episodes.jsonl"
    timings = [json.loads(line) for line in logged.read_text().splitlines()]
    assert len(timings) == CONFIG.episodes
    assert all(timing["seconds"] > 0 for timing in timings)
