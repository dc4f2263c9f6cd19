"""Storing keys and values in 8 bits on a GPU; see ``encode_kernel``."""

import torch

from serving.gpu.ready import power_of_two


def encode_into(
    fresh: torch.Tensor,
    places: torch.Tensor,
    codes: torch.Tensor,
    scales: torch.Tensor,
    zeros: torch.Tensor,
) -> None:
    """Round keys and values, and store codes, scales and zeros at their places.

    Args:
        fresh: (tokens, 2, kv_heads, head_dim); a vector's numbers lie together.
        places: (tokens,); tokens with the same place are padding.
        codes: of a layer, (all places, 2, kv_heads, head_dim), int8.
        scales: (all places, 2, kv_heads), float32; ``zeros`` likewise.
        zeros: see ``scales``.
    """
    from serving.gpu.encode_kernel import encode_kernel

    tokens, _, kv_heads, size = fresh.shape
    fresh = fresh if fresh.stride(3) == 1 else fresh.contiguous()
    encode_kernel[(tokens, 2 * kv_heads)](
        fresh,
        places,
        codes,
        scales,
        zeros,
        fresh.stride(0),
        fresh.stride(1),
        fresh.stride(2),
        kv_heads,
        SIZE=size,
        SIZE_PAD=power_of_two(size),
        num_warps=1,
    )
