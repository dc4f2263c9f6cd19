"""Prefill as it runs on a GPU, without masks of its own, against the masked one."""

import random

import pytest
import torch

from serving.engine import attention
from serving.engine.attention import _prefill, plain
from serving.engine.batch import Segment, causal_mask
from serving.engine.cache import Gathered, decode, encode


@pytest.mark.parametrize("past", [0, 1, 37])
def test_tokens_behind_a_past(past: int) -> None:
    rng = random.Random()
    torch.manual_seed(rng.getrandbits(32))
    count, kv_heads, group = rng.randint(2, 20), rng.choice([1, 2]), rng.choice([1, 3])
    queries = torch.randn(count, kv_heads * group, 16)
    seen = Gathered(torch.randn(past + count, 2, kv_heads, 16))
    places = torch.arange(past + count)
    masked = Segment(0, count, places, past, causal_mask(count, past, torch.device("cpu")))
    want = _prefill(queries, seen, masked, 0.3)
    got = _prefill(queries, seen, Segment(0, count, places, past), 0.3)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_codes_become_numbers_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_WIDENED", random.randint(1, 9))
    codes = encode(torch.randn(random.randint(1, 30), 2, 3, 8))
    assert torch.equal(plain(Gathered(*codes), torch.bfloat16), decode(*codes).bfloat16())
