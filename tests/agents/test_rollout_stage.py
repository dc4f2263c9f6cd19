"""The whole stage: a real endpoint, a random model that writes nonsense."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from agents.rollout import RolloutConfig
from agents.stages import STAGES
from clusters.artifact import Artifact
from clusters.execute import run_stage
from contracts.trajectory import TRAJECTORY

ROLLOUT = next(stage for stage in STAGES if stage.name == "agents.rollout")
CONFIG = RolloutConfig(episodes=6, max_turns=3, max_tokens=10)


@pytest.fixture(scope="module")
def played(
    ray_session: None, checkpoint: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    store = tmp_path_factory.mktemp("rollout")
    return run_stage(ROLLOUT, CONFIG, {"model": [checkpoint]}, store=store, seed=1)


def test_nonsense_is_recorded_as_it_is(played: Artifact) -> None:
    table = pq.read_table(played.path("trajectories.parquet"))
    assert table.schema == TRAJECTORY
    rows = table.to_pylist()
    assert len({row["episode_id"] for row in rows}) == 6
    for row in rows:
        assert 1 <= len(row["output_ids"]) <= 10
        assert len(row["logprobs"]) == len(row["loss_mask"]) == len(row["output_ids"])
        assert all(value <= 0 for value in row["logprobs"])
        assert row["prompt_ids"]
        assert row["status"] in ("final", "truncated", "tool_error")
        assert row["tool_ms"] is None
    summary = json.loads(played.path("summary.json").read_text())
    assert summary["episodes"] == sum(summary["ends"].values()) == 6
    assert summary["success"]["count"] == sum(row["reward"] == 1.0 for row in rows)
    assert played.manifest.stats["out"] == {"episodes": 6, "steps": len(rows)}


def test_nothing_that_never_repeats_is_in_the_data(played: Artifact, tmp_path: Path) -> None:
    text = str(pq.read_table(played.path("trajectories.parquet")).to_pylist())
    text += played.path("summary.json").read_text()
    assert "127.0.0.1" not in text
    assert "/tmp" not in text
    logged = played.directory.parent.parent / "logs" / "stage" / "episodes.jsonl"
    timings = [json.loads(line) for line in logged.read_text().splitlines()]
    assert len(timings) == 6
    assert all(timing["seconds"] > 0 for timing in timings)


def test_same_bytes_on_one_worker_or_many(
    ray_session: None, played: Artifact, checkpoint: Artifact, tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"concurrency": 1})
    again = run_stage(ROLLOUT, config, {"model": [checkpoint]}, store=tmp_path, seed=1)
    assert again.manifest.fingerprint == played.manifest.fingerprint
    assert again.manifest.digest == played.manifest.digest
