"""The score database: the same rows twice are the same rows."""

import random
from pathlib import Path

import pytest

from clusters.config import ConfigError
from contracts.score import Score
from evaluation.database import Origin, figures, insert, open_database, rows_of
from evaluation.summary import ModelEntry, Result, Summary


def make_rows(count: int, model: str) -> list[Score]:
    rng = random.Random()
    return [
        Score(
            benchmark="b", version=1, sample_id=f"s{i}", model=model, prompt_hash="p",
            output="né\n\0x" if i % 2 else "", extracted=rng.choice([None, "A"]),
            correct=rng.random(), error=rng.choice([None, "PromptTooLong: x"]),
            truncated=rng.random() < 0.5, latency_ms=rng.random() * 10, prompt_tokens=i,
            output_tokens=2, uid=rng.choice([None, rng.randrange(1 << 64), (1 << 64) - 1]),
        )
        for i in range(count)
    ]  # fmt: skip


def make_summary(model: str) -> Summary:
    entry = ModelEntry(label="sft", model=model, kind="checkpoint", role="model")
    result = Result(
        label="sft", benchmark="b", version=1, metric="accuracy", group="all",
        mean=0.5, low=0.4, high=None, standard_error=None, n=7,
    )  # fmt: skip
    return Summary(models=[entry], results=[result], controls=[])


def test_rows_come_back_as_they_went_in(tmp_path: Path) -> None:
    rows = make_rows(1203, "m" * 64)
    with open_database(f"sqlite:///{tmp_path}/deep/er/scores.db") as engine:
        assert insert(engine, Origin("fp", "demo", "scores"), make_summary("m" * 64), rows) == 1203
        assert rows_of(engine, "fp") == rows


def test_inserting_again_changes_nothing(tmp_path: Path) -> None:
    rows = make_rows(50, "m")
    url = f"sqlite:///{tmp_path}/scores.db"
    with open_database(url) as engine:
        assert insert(engine, Origin("fp", "demo", "scores"), make_summary("m"), rows[:20]) == 20
    slower = [row.model_copy(update={"latency_ms": 1e6}) for row in rows]
    with open_database(url) as engine:
        assert insert(engine, Origin("fp", "demo", "scores"), make_summary("m"), slower) == 30
        assert insert(engine, Origin("fp", "demo", "scores"), make_summary("m"), slower) == 0
        assert rows_of(engine, "fp")[:20] == rows[:20]
        assert len(figures(engine)) == 1
        assert insert(engine, Origin("other", "demo", "scores"), make_summary("m"), rows) == 50
        assert [f.artifact for f in figures(engine)] in (["fp", "other"], ["other", "fp"])


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("not a url", "cannot be opened"),
        ("nosuch://host/db", "cannot be opened"),
        ("sqlite:////proc/none/scores.db", "cannot be opened"),
    ],
)
def test_a_wrong_url_says_so(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint), open_database(url):
        pass


def test_passwords_are_not_shown() -> None:
    url = "postgresql+nosuch://user:hunter2@localhost/db"
    with pytest.raises(ConfigError) as error, open_database(url):
        pass
    assert "hunter2" not in str(error.value)


def test_reading_makes_no_database(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    with (
        pytest.raises(ConfigError, match="no file"),
        open_database(f"sqlite:///{path}", create=False),
    ):
        pass
    assert not path.exists()
