"""Attention that stays inside each document of a packed line; no length x length mask.

transformers' models call it through their attention interface under the name ``NAME``;
the document lengths reach it as the keyword ``documents``.
"""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from trainer.attention.ulysses import SequenceGroup

NAME = "inkstone_documents"
SHORT = 192
"""Mean positions of a document below which a CPU attends faster in fp32 than in bf16."""


class Documents:
    """The lengths of the documents of a line, in order, in positions."""

    def __init__(self, lengths: list[int], sequence: SequenceGroup | None = None) -> None:
        """Hold lengths; with ``sequence`` each rank holds an equal run of the line."""
        self.lengths = lengths
        self.sequence = sequence

    def cu_seqlens(self, device: torch.device) -> torch.Tensor:
        """(documents + 1,) int32 borders, from 0 to the length of the line."""
        ends = torch.tensor([0, *self.lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
        return ends.to(device)


def register(compiled: bool = False) -> None:
    """Make transformers know this attention; without a mask function it builds no mask.

    Args:
        compiled: the layers around it are compiled; it is not, since lengths change.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(
        NAME, torch.compiler.disable(_interface) if compiled else _interface
    )


def _interface(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    scaling: float,
    documents: Documents,
    **other: Any,
) -> tuple[torch.Tensor, None]:
    """Shapes (1, heads, positions, width) in, (1, positions, heads, width) out."""
    group = documents.sequence
    if group is None:
        return document_attention(query, key, value, scaling, documents), None
    query, key, value = group.to_heads(query, key, value)
    return group.to_positions(document_attention(query, key, value, scaling, documents)), None


def document_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float,
    documents: Documents,
) -> torch.Tensor:
    """Causal attention of each position to its own document.

    Args:
        query: (1, heads, positions, width).
        key: (1, key heads, positions, width), heads a multiple of key heads; as ``value``.
        scaling: factor on the scores.

    Returns:
        (1, positions, heads, width).
    """
    if query.is_cuda and query.dtype != torch.float32:
        return _flash(query, key, value, scaling, documents)
    short = sum(documents.lengths) < SHORT * len(documents.lengths)
    if short and query.dtype == torch.bfloat16:
        query32, key32, value32 = (x.float() for x in (query, key, value))
        return document_attention(query32, key32, value32, scaling, documents).to(query.dtype)
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    pieces = zip(*(x.split(documents.lengths, dim=2) for x in (query, key, value)), strict=True)
    outs = [
        scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling) for q, k, v in pieces
    ]
    return torch.cat([out.transpose(1, 2) for out in outs], dim=1)


def _flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float,
    documents: Documents,
) -> torch.Tensor:
    """One kernel over all documents (arXiv:2307.08691)."""
    from torch.nn.attention.varlen import varlen_attn

    borders = documents.cu_seqlens(query.device)
    longest = max(documents.lengths)
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    out = varlen_attn(
        q,
        k,
        v,
        borders,
        borders,
        longest,
        longest,
        scale=scaling,
        window_size=(-1, 0),
        enable_gqa=q.shape[1] != k.shape[1],
    )
    assert isinstance(out, torch.Tensor)
    return out[None]
