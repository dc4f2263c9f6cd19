import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from clusters.config import ConfigError
from clusters.units import Unit, Units
from corpus.errors import CorpusError
from corpus.schemas import NEGATIVES
from corpus.steps import examples, score, train
from corpus.value import model
from corpus.value.classifier import Classifier, Example, fit
from corpus.value.config import (
    ClassifierConfig,
    FastTextConfig,
    Seed,
    ValueConfig,
    external_inputs,
    score_columns,
)
from corpus.value.examples import shares
from corpus.value.features import classifier_text
from corpus.value.measures import measure
from corpus.value.names import MEASURES

SMALL: dict[str, Any] = {"dim": 8, "buckets": 1000, "min_examples": 10}


def _text(rng: random.Random, good: bool) -> str:
    words = [f"{a}{b}{c}" for a in "bdgkmp" for b in "aeiou" for c in "lnrst"]
    half = words[::2] if good else words[1::2]
    return " ".join(rng.choices(half, k=40) + rng.choices(words, k=20)) + "."


def _examples(rng: random.Random, good: bool, count: int) -> list[Example]:
    return [
        Example(rng.getrandbits(64), rng.choice("abc"), _text(rng, good), rng.random() < 0.2)
        for _ in range(count)
    ]


def _config(**more: Any) -> ClassifierConfig:
    seeds = {"positives": [{"pool": "random"}], "negatives": [{"debris": True}]}
    return ClassifierConfig.model_validate({**SMALL, "name": "quality", **seeds, **more})


def test_training_twice_gives_the_same_bytes_and_a_model_that_tells(tmp_path: Path) -> None:
    rng = random.Random()
    piles = (_examples(rng, True, 500), _examples(rng, False, 500))
    reports = [fit(piles, _config(), tmp_path / name) for name in "01"]
    assert reports[0] == reports[1]
    for name in ("model.bin", "calibration.json"):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "0").iterdir()) == [
        "calibration.json",
        "model.bin",
    ]
    report = reports[0]
    assert report.heldout_auc is not None
    assert report.heldout_auc > 0.95
    assert report.left_out_auc is not None
    assert report.left_out_auc > 0.95
    assert len(report.left_out_sources) == 1
    assert report.heldout_calibration_error is not None
    assert report.heldout_calibration_error < 0.15
    classifier = Classifier.load(tmp_path / "0", 2000)
    scores = classifier.scores([_text(rng, True) for _ in range(50)])
    assert scores.dtype == np.float32
    assert scores.mean() > 0.7
    assert classifier.scores([]).shape == (0,)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_too_few_examples_train_nothing_and_say_so(tmp_path: Path) -> None:
    rng = random.Random()
    report = fit((_examples(rng, True, 50), _examples(rng, False, 4)), _config(), tmp_path / "m")
    assert report.skipped is not None
    assert "min_examples" in report.skipped
    assert not (tmp_path / "m").exists()


def test_a_failed_training_process_is_told(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="training the classifier"):
        model.train([], [], tmp_path / "m" / "model.bin", FastTextConfig())


def test_features_are_one_line_bounded_and_set_chinese_apart() -> None:
    assert classifier_text("One  TWO\n\n three\tfour\n", 100) == "one two <nl> three four"
    assert "\n" not in classifier_text("x\n" * 5000, 2000)
    assert classifier_text("GPU驱动 ok, v1.25!", 100) == "gpu 驱 动 ok , v0 . 00 !"
    assert len(classifier_text("word " * 5000, 2000)) <= 2000


def test_a_seed_is_of_one_kind_and_names_are_columns() -> None:
    with pytest.raises(ValidationError, match="names exactly one"):
        Seed()
    with pytest.raises(ValidationError, match="source, debris"):
        Seed(source="a", debris=True)
    with pytest.raises(ValidationError, match="'quality' is taken"):
        ValueConfig(classifiers=[_config(), _config()])
    with pytest.raises(ValidationError, match="is taken"):
        ValueConfig(classifiers=[_config(name="compression")])
    assert score_columns(ValueConfig()) == [*MEASURES, "quality"]
    assert ValueConfig().negative_rules == {"gopher_quality", "gopher_repetition"}


def test_shares_are_even_and_fill_up() -> None:
    assert shares([10, 10], 8) == [4, 4]
    assert shares([1, 10], 8) == [1, 7]
    assert shares([1, 2, 30], 30) == [1, 2, 27]
    assert shares([3, 3], 100) == [3, 3]


def _unit(folder: Path, name: str) -> Unit:
    folder.mkdir(parents=True, exist_ok=True)
    return Unit(name, folder, "part")


def _shard(folder: Path, rng: random.Random, count: int) -> tuple[Path, Path, Path]:
    """(candidates, clusters, negatives) of a shard with good and bad sources."""
    kinds = [rng.random() < 0.5 for _ in range(count)]
    rows = {
        "uid": pa.array([rng.getrandbits(64) for _ in kinds], pa.uint64()),
        "source": [("good" if kind else "bad") + rng.choice("12") for kind in kinds],
        "lang": [rng.choice(["en", "zh"]) for _ in kinds],
        "text": [_text(rng, kind) for kind in kinds],
        "prose": pa.array([1.0] * count, pa.float32()),
    }
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows), folder / "candidates.parquet")
    splits = [("validation" if rng.random() < 0.2 else "train") for _ in kinds]
    repeated = pa.array([False] * len(splits))
    clusters = pa.table({"cluster": rows["uid"], "split": splits, "duplicate_id": repeated})
    pq.write_table(clusters, folder / "clusters.parquet")
    negatives = [
        {"uid": rng.getrandbits(64), "rule": rule, "source": "s", "lang": "en", "text": f"{rule} x"}
        for rule in ("wanted", "other")
        for _ in range(30)
    ]
    pq.write_table(pa.Table.from_pylist(negatives, NEGATIVES), folder / "negatives.parquet")
    names = ("candidates", "clusters", "negatives")
    one, two, three = (folder / f"{name}.parquet" for name in names)
    return one, two, three


def _value(**more: Any) -> ValueConfig:
    sides = {
        "positives": [{"source": "good1"}, {"source": "good2"}],
        "negatives": [{"source": "bad1"}, {"source": "bad2"}, {"rejected_by": ["wanted"]}],
    }
    entry = {**SMALL, "name": "kind", "max_examples": 60, **sides, **more}
    return ValueConfig.model_validate({"classifiers": [entry]})


def test_examples_do_not_depend_on_how_the_corpus_is_cut(tmp_path: Path) -> None:
    rng = random.Random()
    config = _value()
    shards = [_shard(tmp_path / str(i), rng, 80) for i in range(3)]
    whole = tmp_path / "whole"
    whole.mkdir()
    for place, name in enumerate(("candidates", "clusters", "negatives")):
        tables = [pq.read_table(shard[place]) for shard in shards]
        pq.write_table(pa.concat_tables(tables), whole / f"{name}.parquet")

    def collected(number: str, files: tuple[Path, Path, Path]) -> Path:
        unit = _unit(tmp_path / "work" / number, "examples/x")
        examples.collect(unit, *files, config=config, seed=1)
        return unit.scratch(examples.EXAMPLES_NAME)

    parts = [collected(str(i), shard) for i, shard in enumerate(shards)]
    files = tuple(whole / f"{n}.parquet" for n in ("candidates", "clusters", "negatives"))
    at_once = [collected("whole", (files[0], files[1], files[2]))]
    merged = [examples_of(paths, config) for paths in (parts, parts[::-1], at_once)]
    assert merged[0] == merged[1] == merged[2]
    texts = {e.text for e in merged[0][1]}
    assert "wanted x" in texts
    assert "other x" not in texts
    for side in merged[0]:
        held = [e for e in side if e.held]
        assert 0 < len(held) < len(side)
        assert len(side) - len(held) <= 60


def examples_of(paths: list[Path], config: ValueConfig) -> tuple[list[Example], list[Example]]:
    from corpus.value.examples import examples_of as of
    from corpus.value.examples import merge

    good, bad = of(merge(paths, config), config.classifiers[0])
    return list(good), list(bad)


def test_train_and_score_of_shards(tmp_path: Path) -> None:
    rng = random.Random()
    config = _value(languages=["en"], max_examples=400, epochs=20)
    candidates, clusters, negatives = _shard(tmp_path / "shard", rng, 1200)
    collected = _unit(tmp_path / "a", "examples/x")
    examples.collect(collected, candidates, clusters, negatives, config=config, seed=1)
    trained = _unit(tmp_path / "b", "train/all")
    train.train(trained, [collected.scratch(examples.EXAMPLES_NAME)], config)
    assert sorted(trained.files) == [
        "classifiers/kind/calibration.json",
        "classifiers/kind/model.bin",
    ]
    (report,) = train.read_reports(trained.scratch(train.REPORT_NAME)).classifiers
    assert report.heldout_auc is not None
    assert report.heldout_auc > 0.9
    assert report.left_out_sources
    folder = Units(tmp_path / "b").resolve(trained.files["classifiers/kind/model.bin"]).parent
    scored = _unit(tmp_path / "c", "score/x")
    score.score(scored, candidates, {"kind": folder}, config)
    table = pq.read_table(scored.scratch(score.SCORES_NAME))
    assert table.column_names == score_columns(config)
    assert set(table.schema.types) == {pa.float32()}
    documents = pq.read_table(candidates).to_pylist()
    for row, document in zip(table.to_pylist(), documents, strict=True):
        assert (row["kind"] is None) == (document["lang"] == "zh")
        expected = measure(document["text"], document["lang"])
        assert row["compression"] == pytest.approx(expected["compression"])
    english = [
        (row["kind"], document["source"].startswith("good"))
        for row, document in zip(table.to_pylist(), documents, strict=True)
        if row["kind"] is not None
    ]
    right = sum((value >= 0.5) == good for value, good in english)
    assert right / len(english) > 0.85


def test_an_untrained_classifier_is_a_column_of_nulls_and_columns_are_copied(
    tmp_path: Path,
) -> None:
    candidates, _, _ = _shard(tmp_path, random.Random(), 20)
    table = pq.read_table(candidates)
    given = pa.array(range(20), pa.float32())
    pq.write_table(table.append_column("compression", given), candidates)
    unit = _unit(tmp_path / "c", "score/x")
    score.score(unit, candidates, {}, _value())
    scores = pq.read_table(unit.scratch(score.SCORES_NAME))
    assert scores["kind"].null_count == 20
    assert scores["compression"].to_pylist() == list(map(float, range(20)))


def test_seeds_from_files(tmp_path: Path) -> None:
    rng = random.Random()
    rows = [{"body": _text(rng, good), "label": "yes" if good else "no"}
            for good in (True, False) for _ in range(40)]  # fmt: skip
    path = tmp_path / "seeds.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    table = tmp_path / "bad.csv"
    table.write_text('body\n"' + '"\n"'.join(_text(rng, False) for _ in range(30)) + '"\n')
    config = _value(
        positives=[{"path": str(path), "text_field": "body", "where": {"label": "yes"}}],
        negatives=[{"path": str(table), "text_field": "body"}],
    )
    good, bad = examples_of([], config)
    assert len(good) == 40
    assert len(bad) == 30
    assert {e.source for e in good} == {"seeds.jsonl.gz"}
    inputs = external_inputs(config, "value")
    assert inputs[0].name == "value.classifiers.0.positives.0.path/seeds.jsonl.gz"
    assert len(inputs) == 2


def test_broken_seed_files_are_told_with_line_and_field(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    config = _value(positives=[{"path": str(path)}])
    with pytest.raises(ConfigError, match=r"positives\.0\.path: .*cannot be read"):
        external_inputs(config, "value")
    path.write_text('{"text": "fine"}\n{broken\n')
    with pytest.raises(CorpusError, match=r"seeds\.jsonl:2: broken JSON"):
        examples_of([], config)
    path.write_text('{"texte": "fine"}\n')
    with pytest.raises(CorpusError, match=r"seeds\.jsonl:1: field 'text' is no text.*texte"):
        examples_of([], config)
    other = _value(positives=[{"path": str(tmp_path / "seeds.txt")}])
    with pytest.raises(ConfigError, match="is none of"):
        external_inputs(other, "value")
