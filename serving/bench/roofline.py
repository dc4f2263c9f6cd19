"""How near decoding comes to what memory allows.

A decode step must read every weight it multiplies with and the keys and values of every row:
at the bandwidth of memory that takes ``(weights + keys and values) / bandwidth`` seconds, the
memory roof of Williams et al. 2009 (doi 10.1145/1498765.1498785). The share is that time over
the time the steps took; weights that stay in a large cache can take it above 1.
"""

import time
from dataclasses import dataclass
from typing import Any

import torch

from serving.engine.gauges import Decoding
from serving.quant.linear import Int4Linear

_COPY_BYTES = 256 << 20
_REPEATS = 5


@dataclass(frozen=True)
class Roofline:
    """The steps that only decoded, beside their lower bound."""

    steps: int
    rows_per_step: float
    step_ms: float
    weight_bytes: int
    """Read by each step."""
    cache_bytes_per_step: float
    copy_bytes_per_second: float
    """Read and written bytes of a large copy, measured here."""
    share: float


def roofline(
    model: Any, decoding: Decoding, place_bytes: int, dense_rows: int | None, copy_bits: int
) -> Roofline | None:
    """The share of the roof that some decode steps reached; None where there were none.

    Args:
        model: the model that ran; see :func:`weight_bytes`.
        decoding: what the engine counted.
        place_bytes: keys and values of one token, in bytes, of all layers.
        dense_rows: rows from which on 4-bit layers multiply with a copy; None or 0: never.
        copy_bits: bits per weight of the copy.
    """
    if not decoding.steps:
        return None
    rows = decoding.rows / decoding.steps
    weights = weight_bytes(model, copy_bits if dense_rows and rows >= dense_rows else None)
    speed = copy_speed(model.get_input_embeddings().weight.device)
    least = (decoding.steps * weights + decoding.places * place_bytes) / speed
    return Roofline(
        steps=decoding.steps,
        rows_per_step=rows,
        step_ms=1e3 * decoding.seconds / decoding.steps,
        weight_bytes=weights,
        cache_bytes_per_step=decoding.places * place_bytes / decoding.steps,
        copy_bytes_per_second=speed,
        share=least / decoding.seconds,
    )


def weight_bytes(model: Any, copy_bits: int | None) -> int:
    """Bytes of weights that one decode step reads.

    Of an embedding a step reads a row per token, which is not counted unless the table is
    the output projection too. ``copy_bits``: 4-bit layers are read from a copy of so many bits.
    """
    sizes: dict[int, int] = {}
    copies = 0
    for module in model.modules():
        if isinstance(module, Int4Linear) and copy_bits is not None:
            copies += copy_bits // 8 * module.in_features * module.out_features
            continue
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            sizes[tensor.data_ptr()] = tensor.nbytes
    embedding = model.get_input_embeddings().weight
    if getattr(model.get_output_embeddings(), "weight", None) is not embedding:
        del sizes[embedding.data_ptr()]
    return copies + sum(sizes.values())


def copy_speed(device: torch.device) -> float:
    """Bytes per second that a large copy on a device reads and writes.

    On a CPU with this process's threads.
    """
    source = torch.ones(_COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(_REPEATS):
        _wait(device)
        started = time.perf_counter()
        target.copy_(source)
        _wait(device)
        best = min(best, time.perf_counter() - started)
    return 2 * _COPY_BYTES / best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
