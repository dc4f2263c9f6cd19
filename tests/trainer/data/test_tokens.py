import math
from collections import Counter

import numpy as np
import pytest

from clusters.config import ConfigError
from contracts.unigram import count_tokens, unigram_log_probs
from corpus.token_store import Sampler, TokenStore
from tests.trainer.inputs import Inputs
from trainer.config import PretrainConfig
from trainer.data.tokens import TokenRows, document_row, unigram_loss
from trainer.losses.cross_entropy import IGNORE
from trainer.pretrain import check_mixture


@pytest.fixture
def stores(inputs: Inputs) -> tuple[TokenStore, TokenStore]:
    root = inputs.tokens.path("tokens")
    return TokenStore.open(root / "train"), TokenStore.open(root / "validation")


def test_a_window_predicts_inside_documents_only():
    tokens = np.arange(10, 19, dtype=np.uint16)
    row = document_row(tokens, np.array([0, 3, 7, 9], np.int32))
    assert row.inputs.tolist() == list(range(10, 18))
    assert row.labels.tolist() == [11, 12, IGNORE, 14, 15, 16, IGNORE, 18]
    assert row.segments.tolist() == [0, 0, 0, 1, 1, 1, 1, 2]


def test_a_document_that_ends_with_the_row_does_not_predict_the_next():
    tokens = np.arange(10, 19, dtype=np.uint16)
    row = document_row(tokens, np.array([0, 3, 8, 9], np.int32))
    assert row.labels.tolist() == [11, 12, IGNORE, 14, 15, 16, 17, IGNORE]
    assert row.segments.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    whole = document_row(tokens, np.array([0, 8, 9], np.int32))
    assert whole.labels.tolist() == [*range(11, 18), IGNORE]
    assert whole.segments.tolist() == [0] * 8


def test_no_row_of_a_store_predicts_past_the_end_of_text(stores):
    """Every row of both splits, some of which end on a document's last token."""
    train, validation = stores
    rows = TokenRows(train, validation, sequence_length=8, seed=5, validation_rows=10**6)
    found = [rows.row(k) for k in range(Sampler(train, 8, 5).windows_per_epoch())]
    held = [row for part in rows.validation().values() for row in part]
    for part in (found, held):
        on_the_end = 0
        for row in part:
            ended = row.inputs == train.meta.eos_id
            assert ((row.labels == IGNORE) == ended).all()
            on_the_end += int(ended[-1])
        assert on_the_end


def test_training_rows_are_the_stores_samples(stores):
    train, validation = stores
    rows = TokenRows(train, validation, sequence_length=32, seed=5, validation_rows=3)
    eos = train.meta.eos_id
    for k in (0, 7, 100):
        row = rows.row(k)
        assert len(row.inputs) == 32
        follows = row.labels != IGNORE
        assert (row.labels[:-1][follows[:-1]] == row.inputs[1:][follows[:-1]]).all()
        assert (row.inputs[~follows] == eos).all()


def test_validation_rows_per_domain_repeat(stores):
    train, validation = stores
    rows = TokenRows(train, validation, sequence_length=32, seed=5, validation_rows=3)
    found = rows.validation()
    assert list(found) == ["docs", "docstrings"]
    assert all(len(part) == 3 for part in found.values())
    again = rows.validation()
    for domain, part in found.items():
        for one, other in zip(part, again[domain], strict=True):
            assert (one.inputs == other.inputs).all()
    assert TokenRows(train, None, sequence_length=32, seed=5, validation_rows=3).validation() == {}


def test_unigram_loss_is_that_of_counting(stores):
    train, validation = stores
    found = TokenRows(train, validation, sequence_length=32, seed=5, validation_rows=3)
    rows = found.validation()["docs"]
    counts = Counter(dict.fromkeys(range(train.meta.vocab_size), 1))
    for index, shard in enumerate(train.meta.shards):
        counts.update(int(t) for t in train.window(index, 0, shard.tokens))
    total = sum(counts.values())
    labels = [int(label) for row in rows for label in row.labels if label != IGNORE]
    wanted = -sum(math.log(counts[label] / total) for label in labels) / len(labels)
    log_probs = unigram_log_probs(count_tokens(train.root))
    assert unigram_loss(log_probs, rows) == pytest.approx(wanted, rel=1e-9)


def test_a_mixture_that_changes_in_mid_run_is_trained_on(stores):
    train, _ = stores
    schedule = [(0, {"docs": 1}), (3, {"docs": 1, "docstrings": 2})]
    rows = TokenRows(train, None, sequence_length=32, seed=5, validation_rows=3, schedule=schedule)
    sampler = Sampler(train, 32, 5, schedule)
    domains = [sampler.locate(k).domain for k in range(9)]
    assert Counter(domains[:3]) == {"docs": 3}
    assert Counter(domains[3:]) == {"docs": 2, "docstrings": 4}
    for k in range(9):
        assert rows.row(k).inputs.tolist() == sampler.sample(k).tokens[:-1].tolist()


def test_the_mixture_of_the_config_is_the_schedule(stores):
    segments = [{"from_sample": 0, "weights": {"docs": 2}}, {"from_sample": 9, "weights": {"x": 1}}]
    config = PretrainConfig.model_validate({"data": {"mixture": segments}})
    assert config.data.schedule == [(0, {"docs": 2}), (9, {"x": 1})]
    assert PretrainConfig().data.schedule is None
    with pytest.raises(ConfigError, match=r"data\.mixture: .*segment from 9: no domain 'x'"):
        check_mixture(stores[0].root, config)
    check_mixture(stores[0].root, PretrainConfig(sequence_length=32))
