import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from clusters.artifact import Artifact
from clusters.config import ConfigError
from clusters.execute import run_stage
from corpus.enrich.config import CompleteConfig, RecallConfig
from corpus.enrich.hosts import count_hosts, host_of, merge_hosts
from corpus.enrich.shares import shortfalls
from corpus.errors import CorpusError
from corpus.selection import Selection
from corpus.stages import STAGES
from tests.corpus.enrich.texts import pool, text
from tests.corpus.kills import run_killed

BY_NAME = {stage.name: stage for stage in STAGES}
Make = Callable[..., Artifact]
SMALL: dict[str, Any] = {
    "rounds": {
        "rounds": 2,
        "dim": 8,
        "buckets": 1000,
        "epochs": 20,
        "promote": 20,
        "promote_min_score": 0.6,
    },
    "bm25": {"top": 30, "min_seeds": 3},
}


def write_seeds(path: Path, rng: random.Random, kind: int = 1, count: int = 60) -> Path:
    path.write_text("".join(json.dumps({"text": text(rng, kind)}) + "\n" for _ in range(count)))
    return path


def run(corpus: Artifact, store: Path, **config: Any) -> Artifact:
    made = RecallConfig.model_validate(SMALL | config)
    return run_stage(BY_NAME["corpus.recall"], made, {"corpus": [corpus]}, store=store)


def selected(artifact: Artifact, corpus: Artifact) -> dict[int, str]:
    selection = Selection.open(artifact)
    found: dict[int, str] = {}
    for part in corpus.files("documents/"):
        mine = selection.part(part.name)
        uids = pq.read_table(part)["uid"].to_pylist()
        assert list(mine) == [uid for uid in uids if uid in mine]
        found |= mine
    return found


def sources(corpus: Artifact) -> dict[int, str]:
    rows = [pq.read_table(part).to_pylist() for part in corpus.files("documents/")]
    return {row["uid"]: row["source"] for part in rows for row in part}


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("method", ["classifier", "bm25", "both"])
def test_hidden_documents_are_found(make_corpus: Make, tmp_path: Path, method: str) -> None:
    rng = random.Random()
    corpus = make_corpus(pool(rng, {"wanted": (1, 60), "other": (0, 300), "more": (2, 100)}))
    seeds = [{"path": str(write_seeds(tmp_path / "seeds.jsonl", rng))}]
    one = run(corpus, tmp_path / "1", method=method, seeds=seeds, workers=1)
    two = run(corpus, tmp_path / "2", method=method, seeds=seeds, workers=2)
    assert one.manifest.digest == two.manifest.digest
    found, of = selected(one, corpus), sources(corpus)
    right = sum(of[uid] == "wanted" for uid in found)
    assert right / len(found) > 0.5
    # By chance 0.13. The classifier gives at least what was not drawn as a negative: 0.5 to 1.
    assert right / 60 > 0.25
    assert set(found.values()) == {"recalled"}
    report = json.loads(one.path("recall.json").read_text())
    assert report["recalled"]["documents"] == len(found)
    by_source = {row["source"]: row for row in report["sources"]}
    assert by_source["wanted"]["recalled"] == right
    assert [row["host"] for row in report["hosts"]] == ["wanted.example"]
    assert "| wanted | 60 |" in one.path("recall.md").read_text()
    if method != "bm25":
        assert [entry["round"] for entry in report["rounds"]] == [1, 2]
        assert report["rounds"][1]["promoted"] > 0


@pytest.mark.usefixtures("ray_session")
def test_seeds_may_be_a_source_of_the_pool(make_corpus: Make, tmp_path: Path) -> None:
    rng = random.Random()
    corpus = make_corpus(
        pool(rng, {"seed": (1, 80), "wanted": (1, 60), "other": (0, 300), "more": (2, 100)})
    )
    share = {**SMALL["rounds"], "max_share": 0.2}
    artifact = run(corpus, tmp_path, seeds=[{"source": "seed"}], domain="mine", rounds=share)
    found, of = selected(artifact, corpus), sources(corpus)
    assert len(found) <= 0.2 * 540
    assert sum(of[uid] in ("seed", "wanted") for uid in found) / len(found) > 0.8
    assert set(found.values()) == {"mine"}


@pytest.mark.usefixtures("ray_session")
def test_what_cannot_be_is_said(make_corpus: Make, tmp_path: Path) -> None:
    rng = random.Random()
    corpus = make_corpus(pool(rng, {"other": (0, 50)}))
    seeds = [{"path": str(write_seeds(tmp_path / "few.jsonl", rng, count=3))}]
    with pytest.raises(CorpusError, match="too little to train on"):
        run(corpus, tmp_path, seeds=seeds)
    with pytest.raises(CorpusError, match="no seeds"):
        run(corpus, tmp_path, seeds=[{"source": "nothing"}])
    with pytest.raises(ConfigError, match=r"seeds\.0\.path: .*cannot be read"):
        run(corpus, tmp_path, seeds=[{"path": str(tmp_path / "missing.jsonl")}])
    with pytest.raises(ValidationError, match="source or a path"):
        RecallConfig.model_validate({"seeds": [{"pool": "random"}]})


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("method", ["both", "bm25"])
def test_short_domains_are_filled(make_corpus: Make, tmp_path: Path, method: str) -> None:
    """Not by the classifier alone: of 14 trained on so few seeds, one found nothing at all."""
    rng = random.Random()
    have = make_corpus(pool(rng, {"a": (0, 200), "b": (1, 40)}))
    large = make_corpus(pool(rng, {"p": (0, 150), "q": (1, 150), "r": (2, 150)}))
    seeds = write_seeds(tmp_path / "seeds.jsonl", rng, kind=2)
    config = CompleteConfig.model_validate(
        {
            **SMALL,
            "method": method,
            "target": {"a": 0.5, "b": 0.3, "c": 0.2},
            "seeds": {"c": {"path": str(seeds)}},
            "bm25": {"top": 60, "min_seeds": 1},
        }
    )
    inputs = {"corpus": [have], "pool": [large]}
    stage = BY_NAME["corpus.complete"]
    artifact = run_stage(stage, config, inputs, store=tmp_path / "1")
    found, of = selected(artifact, large), sources(large)
    right = {"b": "q", "c": "r"}
    assert set(found.values()) == {"b", "c"}
    assert sum(right[domain] == of[uid] for uid, domain in found.items()) / len(found) > 0.7
    report = json.loads(artifact.path("completion.json").read_text())
    rows = {row["domain"]: row for row in report["domains"]}
    assert rows["a"]["short_bytes"] == 0
    for domain in "bc":
        row = rows[domain]
        assert 0.6 * row["short_bytes"] < row["found_bytes"] <= row["short_bytes"]
        assert row["still_short_bytes"] == row["short_bytes"] - row["found_bytes"]
    config = config.model_copy(update={"workers": 1})
    again = run_stage(stage, config, inputs, store=tmp_path / "2")
    assert again.manifest.digest == artifact.manifest.digest
    with pytest.raises(CorpusError, match=r"target\.c: .*seeds\.c"):
        run_stage(stage, config.model_copy(update={"seeds": {}}), inputs, store=tmp_path)


def test_shortfalls() -> None:
    rows = {row["domain"]: row for row in shortfalls({"a": 90, "b": 10}, {"a": 1, "b": 3}, None)}
    assert rows["a"]["short_bytes"] == 0
    assert rows["b"]["target_bytes"] == 75
    assert rows["b"]["short_bytes"] == 65
    assert shortfalls({"a": 90}, {"a": 1}, 100)[0]["short_bytes"] == 10


def test_hosts() -> None:
    assert host_of("https://WWW.Example.com:80/x") == "example.com"
    assert host_of("no url") is None
    assert host_of("http://[broken") is None
    urls = [("http://a/1", True), ("http://a/2", False), ("http://b/1", False), (None, True)]
    parts = [count_hosts(urls), count_hosts(urls)]
    (row,) = merge_hosts(parts, 0.1, 3)
    assert row == {"host": "a", "documents": 4, "recalled": 2, "share": 0.5}
    assert merge_hosts(parts, 0.5, 3) == []


FAILPOINTS = {
    "unit.draw.after_publish": "worker",
    "unit.score-0.before_publish": "worker",
    "unit.search.before_publish": "worker",
    "unit.gather.after_publish": "worker",
    "unit.write.before_publish": "worker",
    "corpus.recall.seeds": "driver",
    "unit.train-1.before_publish": "driver",
    "corpus.recall.train-0": "driver",
    "corpus.recall.score-1": "driver",
    "corpus.recall.queries": "driver",
    "unit.fuse.before_publish": "driver",
    "corpus.recall.gather": "driver",
    "corpus.recall.write": "driver",
    "artifact.before_commit": "driver",
}


def check_kill(make_corpus: Make, tmp_path: Path, failpoint: str) -> None:
    rng = random.Random()
    corpus = make_corpus(pool(rng, {"wanted": (1, 40), "other": (0, 100)}))
    seeds = [{"path": str(write_seeds(tmp_path / "seeds.jsonl", rng))}]
    config = RecallConfig.model_validate({**SMALL, "seeds": seeds, "method": "both"})
    artifact = run_killed(
        "corpus.recall",
        config,
        {"corpus": corpus},
        tmp_path / "killed",
        failpoint,
        FAILPOINTS[failpoint],
    )
    whole = run(corpus, tmp_path / "whole", seeds=seeds, method="both")
    assert artifact.manifest.digest == whole.manifest.digest


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_every_kill(make_corpus: Make, tmp_path: Path, failpoint: str) -> None:
    check_kill(make_corpus, tmp_path, failpoint)
