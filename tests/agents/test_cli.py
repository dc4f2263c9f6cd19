import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agents.assignment import assignments
from agents.cli import app
from agents.demonstrate import Expert
from agents.episode import turns
from agents.protocols.react import react
from agents.show import episode_lines, read_episodes, step_lines
from agents.summary import summarise
from agents.tools.registry import TOOLS
from clusters.artifact import Artifact, ArtifactError, ArtifactWriter
from contracts.conversation import Message
from contracts.trajectory import to_table


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """Five expert episodes, committed."""
    import pyarrow.parquet as pq

    played = []
    for one in assignments("run", episodes=5, samples=1, seed=3):
        question = [Message(role="user", content=one.problem.question)]
        steps = list(react(question, Expert(one.problem), TOOLS))
        played.append((one.problem, turns(one.key, steps, 1.0)))
    out = ArtifactWriter.begin(tmp_path, "trajectories", "f" * 64)
    rows = [row for _, episode in played for row in episode]
    pq.write_table(to_table(rows), out.path("trajectories.parquet"))
    out.path("summary.json").write_text(json.dumps(summarise(played)))
    return out.commit(
        kind="trajectories",
        stage="agents.rollout",
        version=1,
        fingerprint="f" * 64,
        config={},
        parents=[],
        external=[],
        stats={},
        seconds=0.0,
    )


def invoke(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


def test_tools_lists_name_status_and_description() -> None:
    assert "calculator(expression)" in invoke("tools")
    (row,) = json.loads(invoke("tools", "--json"))
    assert (row["name"], row["status"]) == ("calculator", "ready")


def test_show_prints_episodes_and_summary(artifact: Artifact) -> None:
    shown = invoke("show", artifact.directory, "-n", 2)
    assert shown.count("question:") == 2
    assert shown.count("calls:  calculator") == 2
    assert "solved: 5 of 5 episodes, 100.0 % (95 % interval 56.6 to 100.0)" in shown


def test_show_as_json_is_the_table(artifact: Artifact) -> None:
    shown = json.loads(invoke("show", artifact.directory, "--json", "-n", 9))
    assert len(shown["episodes"]) == 5
    assert shown["episodes"] == read_episodes(artifact.path("trajectories.parquet"), 9)
    assert shown["summary"]["success"]["rate"] == 1.0


def test_show_nothing_prints_only_the_summary(artifact: Artifact) -> None:
    assert "question:" not in invoke("show", artifact.directory, "-n", 0)


def test_show_of_something_else_says_so(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["show", str(tmp_path)])
    assert isinstance(done.exception, ArtifactError)


def test_a_refused_episode_is_shown_with_its_reason() -> None:
    row = {
        "episode_id": "e",
        "turn": 0,
        "messages": json.dumps([{"role": "user", "content": "What is 1 + 1?"}]),
        "reply": None,
        "tool_name": None,
        "args_json": None,
        "result_json": '"too long"',
        "status": "error",
        "reward": 0.0,
    }
    assert episode_lines([row]) == [
        "episode e",
        "  question: What is 1 + 1?",
        "  step 0: error",
        "    result: too long",
        "  reward: 0",
    ]


def test_what_a_model_writes_cannot_move_the_cursor() -> None:
    said = "one\ntwo\x1b[2J 加"
    (_, line) = step_lines(0, "final", said, None, None)
    assert line == r"    says:   one\ntwo\x1b[2J 加"
