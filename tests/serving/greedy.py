"""Greedy answers beside a plain model, and beside another engine's.

Two ways of computing the same logits differ in their last bits, so where two tokens all but tie
either may be the first, and everything after it differs. What is asked is therefore that each
token is a likeliest one after the tokens that were really given before it. A wrong key, mask,
position or weight moves log-probs by tenths; ``SLACK`` is 10 to 1,000 times what rounding does.
"""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

SLACK = 2e-3
"""Nats."""


def assert_greedy(
    model: Any, prompt: Sequence[int], tokens: Sequence[int], logprobs: Sequence[float] = ()
) -> None:
    """Each token is a likeliest one of the model's after all before it, with its log-prob."""
    whole = torch.tensor([[*prompt, *tokens]])
    with torch.inference_mode():
        logits = model(whole).logits[0, len(prompt) - 1 : -1].float()
    rows = torch.log_softmax(logits, -1)
    chosen = rows.gather(1, torch.tensor(tokens)[:, None])[:, 0]
    below = rows.max(-1).values - chosen
    assert below.max() <= SLACK, f"token {int(below.argmax())} of {list(tokens)} is not the first"
    if logprobs:
        assert list(logprobs) == pytest.approx(chosen.tolist(), abs=SLACK)


def assert_same_greedy(
    found: Sequence[tuple[int, float]],
    wanted: Sequence[tuple[int, float]],
    slack: float = SLACK,
) -> None:
    """Two answers of (token, log-prob) are equal, up to a token where two tie."""
    assert len(found) == len(wanted)
    for (token, logprob), (other, expected) in zip(found, wanted, strict=True):
        assert logprob == pytest.approx(expected, abs=slack)
        if token != other:
            return
