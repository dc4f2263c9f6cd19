"""Quantised model directories: what lies beside the weights, and how they are opened again."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from serving.directory import ModelError, read_config
from serving.quant.config import CONFIG_KEY, QuantizeConfig, QuantizedWeights
from serving.quant.formats import PackedLinear, format_of
from serving.quant.select import Selection

_SIDE_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
)


def side_files(
    source: Path, chosen: Selection, config: QuantizeConfig, dense_rows: int | None = None
) -> Iterator[tuple[str, bytes]]:
    """config.json of the quantised model, and the files copied beside it."""
    told: dict[str, Any] = read_config(source)
    for key in ("dtype", "torch_dtype"):
        told.pop(key, None)
    told["dtype"] = "bfloat16"
    if "lm_head" in chosen.packed:
        told["tie_word_embeddings"] = False
    said = QuantizedWeights(
        bits=config.bits,
        code="nf4" if config.method == "nf4" else "int",
        group_size=config.group_size,
        modules=sorted(chosen.packed),
        dense_rows=dense_rows,
    )
    told[CONFIG_KEY] = said.model_dump()
    yield "config.json", (json.dumps(told, indent=1, sort_keys=True) + "\n").encode()
    for name in _SIDE_FILES:
        if (source / name).is_file():
            yield name, (source / name).read_bytes()


def install(model: PreTrainedModel, weights: QuantizedWeights, path: Path) -> list[PackedLinear]:
    """Put an empty layer over packed weights in the place of every packed module.

    Raises:
        ModelError: config.json names a module that is no linear layer of this model, or whose
            inputs the group size does not divide.
    """
    form = format_of(weights)
    layers: list[Any] = []
    for name in weights.modules:
        try:
            old = model.get_submodule(name)
        except AttributeError:
            old = None
        where = f"{path / 'config.json'}: {CONFIG_KEY}"
        if not isinstance(old, nn.Linear):
            raise ModelError(f"{where}: no linear module {name!r}")
        if old.in_features % form.multiple:
            raise ModelError(
                f"{where}: {name} has {old.in_features} inputs, "
                f"no multiple of group_size {form.multiple}"
            )
        layers.append(form.layer(old.in_features, old.out_features, old.bias is not None))
        replace(model, name, layers[-1])
    return layers


def replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Put a module in the place of another."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)
