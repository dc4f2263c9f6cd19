"""Quantised model directories: written file by file, and opened again."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from serving.directory import ModelError, read_config, tensors_of
from serving.load import model_config
from serving.quant.config import CONFIG_KEY, QuantizeConfig, QuantizedWeights
from serving.quant.linear import Int4Linear
from serving.quant.rounding import Packed, dequantize, quantize

_SIDE_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
)


@dataclass
class Selection:
    """Which linear modules are packed, and which are not and why."""

    packed: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)


def select(source: Path, config: QuantizeConfig) -> Selection:
    """Decide from the architecture alone, before any weight is read.

    Raises:
        ModelError: config.json describes no causal language model.
    """
    architecture, _ = model_config(source)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(architecture)
    except (ValueError, ImportError) as error:
        raise ModelError(f"{source}: no causal language model: {error}") from error
    chosen = Selection()
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        if name == "lm_head" and not config.quantize_lm_head:
            chosen.kept[name] = "output projection"
        elif module.in_features % config.group_size:
            chosen.kept[name] = (
                f"{module.in_features} inputs are no multiple of group_size {config.group_size}"
            )
        else:
            chosen.packed.append(name)
    return chosen


@dataclass
class FileStats:
    """What quantising one file came to."""

    bytes_before: int = 0
    bytes_after: int = 0
    relative_errors: dict[str, float] = field(default_factory=dict)
    """Module -> Frobenius norm of the error over that of the weight."""


def quantize_file(
    source: Path, target: Path, chosen: Selection, group_size: int, lm_head_source: str | None
) -> FileStats:
    """Write the tensors of one safetensors file with the chosen modules packed.

    Args:
        source: file to read.
        target: file to write; its bytes depend on the input only.
        chosen: modules to pack.
        group_size: inputs per scale.
        lm_head_source: weight that is also the output projection (tied embeddings), where
            that is to be packed; it is written twice, whole and packed.
    """
    from safetensors.torch import save_file

    stats = FileStats()
    out: dict[str, torch.Tensor] = {}
    for name, tensor in tensors_of(source):
        stats.bytes_before += tensor.numel() * tensor.element_size()
        module = name.removesuffix(".weight")
        if module in chosen.packed:
            _pack(out, module, tensor, group_size, stats)
            continue
        out[name] = tensor.bfloat16()
        if name == lm_head_source:
            _pack(out, "lm_head", tensor, group_size, stats)
    save_file(out, target, metadata={"format": "pt"})
    stats.bytes_after = sum(t.numel() * t.element_size() for t in out.values())
    return stats


def _pack(
    out: dict[str, torch.Tensor],
    module: str,
    weight: torch.Tensor,
    group_size: int,
    stats: FileStats,
) -> None:
    packed = quantize(weight, group_size)
    out |= {
        f"{module}.codes": packed.codes,
        f"{module}.scales": packed.scales,
        f"{module}.zeros": packed.zeros,
    }
    stats.relative_errors[module] = _relative_error(weight.float(), packed)


def _relative_error(weight: torch.Tensor, packed: Packed) -> float:
    size = weight.norm().item()
    return (dequantize(packed) - weight).norm().item() / size if size else 0.0


def side_files(source: Path, chosen: Selection, group_size: int) -> Iterator[tuple[str, bytes]]:
    """config.json of the quantised model, and the files copied beside it."""
    config: dict[str, Any] = read_config(source)
    for key in ("dtype", "torch_dtype"):
        config.pop(key, None)
    config["dtype"] = "bfloat16"
    if "lm_head" in chosen.packed:
        config["tie_word_embeddings"] = False
    said = QuantizedWeights(group_size=group_size, modules=sorted(chosen.packed))
    config[CONFIG_KEY] = said.model_dump()
    yield "config.json", (json.dumps(config, indent=1, sort_keys=True) + "\n").encode()
    for name in _SIDE_FILES:
        if (source / name).is_file():
            yield name, (source / name).read_bytes()


def install(model: PreTrainedModel, said: dict[str, Any], path: Path) -> list[Int4Linear]:
    """Put an empty 4-bit layer in the place of every packed module.

    Raises:
        ModelError: config.json says nothing sensible of the packing, or names a module that
            is no linear layer of this model.
    """
    try:
        weights = QuantizedWeights.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([CONFIG_KEY, *map(str, first["loc"])])
        raise ModelError(f"{path / 'config.json'}: {key}: {first['msg']}") from error
    layers = []
    for name in weights.modules:
        parent_name, _, child = name.rpartition(".")
        try:
            old = model.get_submodule(name)
        except AttributeError:
            old = None
        if not isinstance(old, nn.Linear):
            raise ModelError(f"{path / 'config.json'}: {CONFIG_KEY}: no linear module {name!r}")
        layer = Int4Linear(
            old.in_features, old.out_features, weights.group_size, old.bias is not None
        )
        setattr(model.get_submodule(parent_name), child, layer)
        layers.append(layer)
    return layers
