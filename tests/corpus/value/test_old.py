import random
from pathlib import Path

import numpy as np
import pytest

from corpus.config import QualityConfig
from corpus.errors import CorpusError
from corpus.quality import model
from corpus.quality.auc import auc
from corpus.quality.features import classifier_text
from corpus.quality.prose import debris_lines, prose_share
from corpus.steps.train import make_examples, train_and_measure


def _texts(rng: random.Random, good: bool, count: int) -> list[str]:
    words = [f"{a}{b}{c}" for a in "bdgkmp" for b in "aeiou" for c in "lnrst"]
    half = words[::2] if good else words[1::2]
    return [" ".join(rng.choices(half, k=40) + rng.choices(words, k=20)) for _ in range(count)]


def test_auc_against_the_count_of_pairs() -> None:
    rng = np.random.default_rng()
    for _ in range(20):
        good = rng.integers(0, 8, rng.integers(1, 30)) / 8
        bad = rng.integers(0, 8, rng.integers(1, 30)) / 8
        pairs = [(g > b) + 0.5 * (g == b) for g in good for b in bad]
        assert auc(good, bad) == pytest.approx(np.mean(pairs))
    with pytest.raises(ValueError):
        auc(np.zeros(0), np.ones(3))


def test_training_twice_gives_the_same_bytes_and_a_model_that_tells(tmp_path: Path) -> None:
    rng = random.Random()
    config = QualityConfig(dim=8, buckets=1000, min_examples=10)
    train = (_texts(rng, True, 300), _texts(rng, False, 300))
    heldout = (_texts(rng, True, 50), _texts(rng, False, 50))
    reports = [
        train_and_measure(train, heldout, config, tmp_path / f"{i}.txt", tmp_path / f"{i}.bin")
        for i in range(2)
    ]
    assert (tmp_path / "0.bin").read_bytes() == (tmp_path / "1.bin").read_bytes()
    assert reports[0] == reports[1]
    assert reports[0].heldout_auc is not None
    assert reports[0].heldout_auc > 0.95
    scores = model.scores(model.load(tmp_path / "0.bin"), heldout[0])
    assert scores.dtype == np.float32
    assert scores.mean() > 0.6
    assert model.scores(None, []).shape == (0,)


def test_too_few_examples_train_nothing_and_say_so(tmp_path: Path) -> None:
    config = QualityConfig(min_examples=5)
    report = train_and_measure(
        (["a"] * 9, ["b"] * 4), ([], []), config, tmp_path / "e", tmp_path / "m"
    )
    assert report.skipped is not None
    assert "min_examples" in report.skipped
    assert not (tmp_path / "m").exists()


def test_a_failed_training_process_is_told(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="training the quality classifier failed"):
        model.train(tmp_path / "missing.txt", tmp_path / "m.bin", QualityConfig())


def test_examples_are_prose_and_debris_of_the_same_documents() -> None:
    prose = "The loader reads every file of the folder before it starts.\n" * 8
    table = "".join(f"col_{i}: int=0x{i} | {i}\n" for i in range(40))
    texts = [prose + table, prose, table, prose]
    shares = [prose_share(text) for text in texts]
    assert shares[1] == 1.0
    assert shares[2] == 0.0
    assert 0 < shares[0] < 0.5
    assert debris_lines(texts[0]) == table.splitlines()
    good, bad = make_examples(texts, shares, ["rejected text"], QualityConfig(), seed=1)
    assert good == [classifier_text(prose, 2000)] * 2
    assert bad[0] == "rejected text"
    assert len(bad) == 2
    assert "loader" not in bad[1]


def test_features_are_one_line_and_bounded() -> None:
    assert classifier_text("One  TWO\n\n three\tfour\n", 100) == "one two <nl> three four"
    assert "\n" not in classifier_text("x\n" * 5000, 2000)
    assert len(classifier_text("word " * 5000, 2000)) <= 2000
