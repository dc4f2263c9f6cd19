"""Attention inside documents, against a masked softmax written out."""

import random

import pytest
import torch

from trainer.attention.documents import SHORT, Documents, document_attention

HEADS, KEY_HEADS, WIDTH, SCALE = 4, 2, 16, 0.3


def masked(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: list[int]
) -> torch.Tensor:
    """Softmax over one (positions x positions) table, in fp32."""
    query, key, value = (x.detach().float()[0] for x in (query, key, value))
    document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    seen = (document[:, None] == document).tril()
    key, value = (x.repeat_interleave(HEADS // KEY_HEADS, 0) for x in (key, value))
    scores = (query @ key.transpose(1, 2) * SCALE).masked_fill(~seen, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(0, 1)[None]


@pytest.mark.parametrize("longest", [SHORT // 4, SHORT * 3], ids=["short", "long"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_document_sees_itself(longest: int, dtype: torch.dtype) -> None:
    rng = random.Random()
    lengths = [rng.randint(longest // 2, longest) for _ in range(5)]
    query, key, value = (
        torch.randn(1, heads, sum(lengths), WIDTH, dtype=dtype, requires_grad=True)
        for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    )
    out = document_attention(query, key, value, SCALE, Documents(lengths))
    assert out.dtype == dtype
    torch.testing.assert_close(
        out.float(),
        masked(query, key, value, lengths),
        atol=1e-5 if dtype == torch.float32 else 2e-2,
        rtol=1e-4 if dtype == torch.float32 else 2e-2,
    )
    first = out[:, : lengths[0]].float().sum()
    (gradient,) = torch.autograd.grad(first, key)
    assert gradient[:, :, : lengths[0]].abs().sum() > 0
    assert not gradient[:, :, lengths[0] :].any()
