"""Attention over keys and values in 8 bits, without dequantising them."""

import torch

_FEW_ROWS = 32


def int8_attention(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    scales: torch.Tensor,
    zeros: torch.Tensor,
    mask: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Attention over 8-bit codes, scales folded into scores and weights.

    ``q . k = (q . code) * scale + sum(q) * zero``, and
    ``sum p v = sum (p * scale) code + sum p * zero``: no key or value is ever dequantised.

    Args:
        query: (batch, kv_heads, rows, head_dim).
        keys: codes, (batch, kv_heads, places, head_dim); ``values`` likewise.
        values: see ``keys``.
        scales: (2, batch, kv_heads, places) of keys and of values.
        zeros: likewise.
        mask: added to the scores.
        scale: factor of the scores.
    """
    # Of few rows, bf16 products had other bits now and then in other company.
    dtype = torch.float32 if query.shape[-2] < _FEW_ROWS else query.dtype
    key_scale, value_scale = scales.unsqueeze(-2)
    key_zero, value_zero = zeros.unsqueeze(-2)
    products = torch.matmul(query.to(dtype), keys.to(dtype).transpose(-1, -2)).float()
    totals = query.float().sum(dim=-1, keepdim=True)
    scores = (products * key_scale + totals * key_zero) * scale + mask
    weights = scores.softmax(dim=-1)
    weighted = torch.matmul((weights * value_scale).to(dtype), values.to(dtype)).float()
    return (weighted + (weights * value_zero).sum(dim=-1, keepdim=True)).to(query.dtype)
