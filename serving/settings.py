"""How a model is run: one record for the command line, the endpoint, the bench and Python."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from clusters.config import ConfigError

_EVERYWHERE = ("slots", "max_context", "threads", "cache_tokens", "engine")
"""What is not of ``paged`` alone."""
_LEAST = {
    "slots": 1,
    "max_context": 1,
    "threads": 1,
    "cache_tokens": 1,
    "dense_rows": 0,
    "tensor_parallel": 1,
}
"""The smallest number that each may be."""


@dataclass(frozen=True)
class EngineSettings:
    """What ``serving.load.load_engine`` is told of the engine it opens."""

    slots: int = 16
    """Sequences that run at once."""
    max_context: int | None = None
    """Tokens per sequence; None: the model's, at most 2048."""
    threads: int | None = None
    """Torch threads of this process, and of each other one that ``tensor_parallel`` starts;
    None: as torch has them, shared out over the processes."""
    cache_tokens: int | None = None
    """Tokens whose keys and values are kept, of all sequences together; None: all slots can be
    full. With fewer, sequences are preempted when it is."""
    reproducible: bool = True
    """A request's result does not depend on company, bit for bit. Without, steps compute no
    padding and prefixes are shared by block instead of by chunk."""
    int8_cache: bool = False
    """Keep keys and values in 8 bits."""
    dense_rows: int | None = None
    """Keep a copy of 4-bit weights for steps of so many rows or more, where multiplying with it
    is faster (about 5 rows on a CPU with AMX). None: as ``inkstone serve quantize`` measured,
    where it did; 0 keeps none. A GPU needs none."""
    copy_bits: Literal[8, 16] = 8
    """Bits per weight of that copy. 8 rounds activations to 8 bits too and is twice as fast as
    16; see docs/serving/quantize.md for what it costs."""
    compiled: bool = True
    """On a CPU, compile kernels for what lies between the products, where there is a compiler;
    see docs/serving/engine.md."""
    device: str = "auto"
    """``cpu``, ``cuda``, or ``auto``: a GPU where torch sees one, and ``tensor_parallel`` is 1."""
    cuda_graphs: bool = True
    """On a GPU, replay decode steps as graphs; see docs/serving/gpu.md."""
    tensor_parallel: int = 1
    """Processes that share the model's layers; see docs/serving/parallel.md."""
    adapters: Mapping[str, Path] = field(default_factory=dict)
    """Folders of LoRA adapters to load, by name; see docs/serving/lora.md."""
    engine: str = "paged"
    """``paged``, ``transformers``, ``vllm`` or ``lmdeploy``; see docs/serving/engines.md."""

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing.

        Raises:
            ConfigError: names the setting and what it may be.
        """
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} is {value}; it must be at least {least}")
        if self.copy_bits not in (8, 16):
            raise ConfigError(f"copy_bits is {self.copy_bits}; it must be 8 or 16")

    def of_paged_alone(self) -> list[str]:
        """Names of the settings that were changed and that only ``paged`` has."""
        plain = EngineSettings()
        own = [f.name for f in fields(self) if f.name not in _EVERYWHERE]
        return [name for name in own if getattr(self, name) != getattr(plain, name)]
