"""Bytes: of a loaded model's weights, on disk, and of a token's keys and values."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from serving.engine.cache import Int8Cache, PagedCache
from serving.engine.runner import RunnerConfig, cache_shape
from serving.quant.linear import Int4Linear

_GIB = 1 << 30


@dataclass(frozen=True)
class Capacity:
    """Tokens whose keys and values fit a GiB."""

    bf16: int
    int8: int


def weight_bytes(model: nn.Module) -> int:
    """Bytes of everything a loaded model multiplies with, what kernels keep included."""
    tensors = {t.data_ptr(): t.nbytes for t in [*model.parameters(), *model.buffers()]}
    packed = [module for module in model.modules() if isinstance(module, Int4Linear)]
    return sum(tensors.values()) + sum(layer.kept_bytes for layer in packed)


def copy_bytes(model: nn.Module) -> int:
    """Bytes that 8-bit copies of all 4-bit layers take."""
    return sum(
        module.in_features * module.out_features
        for module in model.modules()
        if isinstance(module, Int4Linear)
    )


def disk_bytes(path: Path) -> int:
    """Bytes of a model directory's weight files."""
    return sum(file.stat().st_size for file in path.glob("*.safetensors"))


def cache_capacity(config: Any) -> Capacity:
    """Tokens per GiB of both caches, of a model with this config."""
    shape = cache_shape(config, RunnerConfig(max_context=1, num_blocks=1))
    shape = replace(shape, num_blocks=4)
    tokens = shape.num_blocks * shape.block_size
    device = torch.device("cpu")
    sizes = (PagedCache(shape, torch.bfloat16, device).nbytes, Int8Cache(shape, device).nbytes)
    return Capacity(*(_GIB * tokens // size for size in sizes))
