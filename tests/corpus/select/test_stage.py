import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from clusters.artifact import Artifact, ArtifactError
from clusters.execute import run_stage
from corpus.errors import CorpusError
from corpus.select.config import SelectConfig
from corpus.selection import Selection, Summary
from corpus.stages import STAGES
from tests.corpus.kills import run_killed

SELECT = next(stage for stage in STAGES if stage.name == "corpus.select")
Make = Callable[..., Artifact]
CONFIG: dict[str, Any] = {
    "thresholds": {"quality": {"min": 0.4, "sources": {"b": {"min": 0.2}}}},
    "budget": {"bytes": 4000, "by": "quality"},
}


def rows(rng: random.Random, count: int = 80) -> list[dict[str, Any]]:
    return [
        {
            "id": str(i),
            "source": rng.choice("ab"),
            "lang": rng.choice(["en", "zh"]),
            "split": "validation" if rng.random() < 0.1 else "train",
            "quality": None if rng.random() < 0.1 else rng.random(),
            "text": "x" * rng.randint(50, 400),
        }
        for i in range(count)
    ]


def chosen(artifact: Artifact, corpus: Artifact) -> dict[int, str]:
    selection = Selection.open(artifact)
    found: dict[int, str] = {}
    for part in corpus.files("documents/"):
        mine = selection.part(part.name)
        order = [uid for uid in pq.read_table(part)["uid"].to_pylist() if uid in mine]
        assert list(mine) == order
        found |= mine
    return found


def run(corpus: Artifact, store: Path, config: dict[str, Any], *recalled: Artifact) -> Artifact:
    inputs = {"corpus": [corpus]} | ({"recalled": list(recalled)} if recalled else {})
    return run_stage(SELECT, SelectConfig.model_validate(config), inputs, store=store)


@pytest.mark.usefixtures("ray_session")
def test_what_passes_and_fits_is_selected(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus(rows(random.Random()), parts=4)
    documents = {row["uid"]: row for p in corpus.files("documents/")
                 for row in pq.read_table(p).to_pylist()}  # fmt: skip
    one = run(corpus, tmp_path / "1", {**CONFIG, "workers": 1})
    two = run(corpus, tmp_path / "2", {**CONFIG, "workers": 2})
    assert one.manifest.digest == two.manifest.digest
    limit = {"a": 0.4, "b": 0.2}
    passed = {
        uid: row
        for uid, row in documents.items()
        if row["quality"] is None or row["quality"] >= limit[row["source"]]
    }
    found = chosen(one, corpus)
    assert {u for u in found if passed[u]["split"] == "validation"} == {
        u for u, row in passed.items() if row["split"] == "validation"
    }
    train = sorted(
        (row for row in passed.values() if row["split"] == "train" and row["quality"] is not None),
        key=lambda row: -row["quality"],
    )
    total, expected = 0, set()
    for row in train:
        total += len(row["text"])
        if total > 4000:
            break
        expected.add(row["uid"])
    assert {u for u in found if documents[u]["split"] == "train"} >= expected
    assert total > 4000, "the budget was never reached"
    assert {u for u in found if documents[u]["split"] == "train"} == expected
    assert all(documents[uid]["source"] == domain for uid, domain in found.items())
    summary = Selection.open(one).summary
    assert set(summary.weights) == {"a", "b"}
    steps = {step.name: step for step in summary.steps}
    assert steps["quality"].entered.documents == len(documents)
    dropped = {u for u in documents if u not in passed}
    assert steps["quality"].rejected["below"].documents == len(dropped)
    assert steps["budget"].passed.documents == len(found)
    languages = steps["quality"].languages
    assert sum(entry.passed.documents for entry in languages.values()) == len(passed)


@pytest.mark.usefixtures("ray_session")
def test_weights_drop_and_score_buckets(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus(rows(random.Random(), 120))
    plain = {"thresholds": {}, "mixture": {"weights": {"a": 0, "b": 2}}}
    artifact = run(corpus, tmp_path, plain)
    assert Selection.open(artifact).weights == {"b": 1000}
    assert set(chosen(artifact, corpus).values()) == {"b"}
    buckets = {"domains": {"by": ["quality"], "edges": {"quality": [0.5]}}, "thresholds": {}}
    domains = Selection.open(run(corpus, tmp_path, buckets)).summary.domains
    assert {"quality<0.5", "quality>=0.5"} <= set(domains)
    per_domain = {"thresholds": {}, "mixture": {"weights": {"a": 1, "b": 3}},
                  "budget": {"bytes": 4000, "per_domain": True}}  # fmt: skip
    domains = Selection.open(run(corpus, tmp_path, per_domain)).summary.domains
    assert 500 < domains["a"].train.bytes <= 1000
    assert 2500 < domains["b"].train.bytes <= 3000


@pytest.mark.usefixtures("ray_session")
def test_repeats_are_those_of_the_whole_weights(make_corpus: Make, tmp_path: Path) -> None:
    big = [{"id": str(i), "source": "big", "text": "x" * 8000} for i in range(10)]

    def summary(text: str, max_repeats: float) -> Summary:
        corpus = make_corpus([*big, {"id": "t", "source": "tiny", "text": text}])
        config = {"thresholds": {}, "mixture": {"max_repeats": max_repeats}}
        return Selection.open(run(corpus, tmp_path / str(len(text)), config)).summary

    small = summary("x" * 10, 2)
    assert small.weights == {"big": 8000, "tiny": 1}
    assert small.domains["tiny"].repeats == pytest.approx(1, abs=1e-3)
    assert small.notes == []
    tiny = summary("x", 1.2)
    assert tiny.domains["tiny"].repeats == pytest.approx(80_001 / 60_001, abs=1e-3)
    (note,) = tiny.notes
    assert "domain 'tiny' is seen 1.333 times, more often than max_repeats 1.2" in note


@pytest.mark.usefixtures("ray_session")
def test_selections_are_united_or_alone(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus(rows(random.Random(), 60))
    narrow = run(corpus, tmp_path, {"thresholds": {"quality": {"max": 0.3, "missing": "drop"}},
                                    "domains": {"by": ["lang"]}})  # fmt: skip
    wide = {"thresholds": {"quality": {"min": 0.6, "missing": "drop"}}}
    alone = chosen(run(corpus, tmp_path, wide), corpus)
    recalled = chosen(narrow, corpus)
    assert chosen(run(corpus, tmp_path, wide, narrow), corpus) == alone | recalled
    only = chosen(run(corpus, tmp_path, {**wide, "recalled": "only"}, narrow), corpus)
    assert only == recalled
    other = make_corpus(rows(random.Random(), 20))
    with pytest.raises(ArtifactError, match="selects from another corpus"):
        run(other, tmp_path, wide, narrow)


@pytest.mark.usefixtures("ray_session")
def test_what_cannot_be_is_said(make_corpus: Make, tmp_path: Path) -> None:
    corpus = make_corpus(rows(random.Random(), 20))
    with pytest.raises(CorpusError, match="no column 'nonsense'"):
        run(corpus, tmp_path, {"thresholds": {"nonsense": {"min": 1}}})
    with pytest.raises(CorpusError, match="no train document is selected"):
        run(corpus, tmp_path, {"thresholds": {"quality": {"min": 2, "missing": "drop"}}})


FAILPOINTS = {
    "unit.judge.before_publish": "worker",
    "unit.write.after_publish": "worker",
    "corpus.select.judge": "driver",
    "unit.cut.before_publish": "driver",
    "corpus.select.cut": "driver",
    "corpus.select.write": "driver",
    "artifact.before_commit": "driver",
}


def check_kill(make_corpus: Make, tmp_path: Path, failpoint: str) -> None:
    corpus = make_corpus(rows(random.Random()), parts=5)
    artifact = run_killed(
        "corpus.select",
        SelectConfig.model_validate(CONFIG),
        {"corpus": corpus},
        tmp_path / "killed",
        failpoint,
        FAILPOINTS[failpoint],
    )
    assert artifact.manifest.digest == run(corpus, tmp_path / "whole", CONFIG).manifest.digest


@pytest.mark.usefixtures("ray_session")
def test_one_kill(make_corpus: Make, tmp_path: Path) -> None:
    check_kill(make_corpus, tmp_path, random.choice(sorted(FAILPOINTS)))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_every_kill(make_corpus: Make, tmp_path: Path, failpoint: str) -> None:
    check_kill(make_corpus, tmp_path, failpoint)
