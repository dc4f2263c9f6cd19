import random
from types import SimpleNamespace

import pytest
from torch import nn

from serving.bench.drive import Record
from serving.bench.roofline import roofline, weight_bytes
from serving.bench.summary import spread, summarise, token_gaps
from serving.engine.gauges import Decoding
from serving.quant.linear import Int4Linear


def test_the_numbers_of_two_answers_by_hand() -> None:
    records = [
        Record(0.0, [(0.5, 1), (0.7, 1), (1.1, 2)], prompt_tokens=10),
        Record(1.0, [(1.25, 1)], prompt_tokens=6),
        Record(1.5, [(1.6, 1)], prompt_tokens=9, error="broken off"),
    ]
    summary = summarise(records)
    assert (summary.requests, summary.failed, summary.first_error) == (3, 1, "broken off")
    assert (summary.prompt_tokens, summary.new_tokens) == (16, 5)
    assert summary.seconds == pytest.approx(1.25)
    assert summary.requests_per_second == pytest.approx(2 / 1.25)
    assert summary.new_tokens_per_second == pytest.approx(5 / 1.25)
    assert summary.tokens_per_second == pytest.approx(21 / 1.25)
    assert token_gaps(records) == pytest.approx([0.2, 0.2, 0.2])
    assert summary.ttft_ms.mean == pytest.approx(375)
    assert summary.latency_ms.p50 == pytest.approx((1100 + 250) / 2)


def test_tokens_that_waited_for_the_reader_came_together() -> None:
    record = Record(0.0)
    for now, tokens in ((0.5, 0), (1.0, 1), (1.00001, 1), (1.00002, 2), (1.4, 1), (1.40001, 0)):
        record.note(now, tokens)
    assert record.arrivals == [(1.0, 4), (1.4, 1)]
    assert token_gaps([record]) == pytest.approx([0.4])


def test_percentiles_are_those_of_a_sorted_list() -> None:
    rng = random.Random()
    times = [rng.random() for _ in range(101)]
    got = spread(times)
    ordered = sorted(times)
    assert [got.p50, got.p90, got.p99] == pytest.approx([1e3 * ordered[i] for i in (50, 90, 99)])
    assert spread([]) is None


def test_nothing_answered_has_no_times() -> None:
    summary = summarise([Record(0.0, error="no")])
    assert summary.ttft_ms is None
    assert summary.new_tokens_per_second == 0


class Tiny(nn.Module):
    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(32, 16)
        self.layer = Int4Linear(32, 48, 32, bias=False)
        self.norm = nn.LayerNorm(16, bias=False)
        self.head = nn.Linear(16, 32, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def get_output_embeddings(self) -> nn.Module:
        return self.head


@pytest.mark.parametrize("tied", [True, False])
def test_weights_that_a_step_reads(tied: bool) -> None:
    model = Tiny(tied)
    rest = 4 * 16 + 4 * 16 * 32
    codes = 48 * 32 // 2 + 2 * 2 * 48
    assert weight_bytes(model, None) == rest + codes
    assert weight_bytes(model, 16) == rest + 2 * 48 * 32
    assert weight_bytes(model, 8) == rest + 48 * 32


def test_the_share_is_the_least_time_over_the_time() -> None:
    decoding = Decoding().after(2, 30, 0.5).after(4, 70, 1.5)
    assert decoding.since(Decoding().after(2, 30, 0.5)) == Decoding(1, 4, 70, 1.5)
    model = Tiny(True)
    roof = roofline(model, decoding, 1000, None, 8)
    least = (2 * weight_bytes(model, None) + 100 * 1000) / roof.copy_bytes_per_second
    assert roof.share == pytest.approx(least / 2.0)
    assert (roof.steps, roof.rows_per_step, roof.step_ms) == (2, 3.0, 1000.0)
    assert roofline(SimpleNamespace(), Decoding(), 1, None, 8) is None
