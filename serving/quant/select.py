"""Which linear modules of a model are packed."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from serving.directory import ModelError, read_config
from serving.folder import ModelFolder
from serving.quant.config import CONFIG_KEY, HUB_KEY, QuantizeConfig
from serving.quant.formats import format_of
from serving.weights import empty_model, needs_conversion


@dataclass
class Selection:
    """Which linear modules are packed, and which are not and why."""

    packed: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)

    def told(self) -> list[str]:
        """A line for every module that is not packed."""
        return [f"{module} stays in bf16: {reason}" for module, reason in self.kept.items()]


def select(source: Path, config: QuantizeConfig) -> Selection:
    """Decide from the architecture alone, before any weight is read.

    Raises:
        ModelError: config.json describes no causal language model, one that the engine cannot
            run, or one that is packed already, or the files name weights otherwise.
    """
    folder = ModelFolder(source)
    _refuse_packed(folder)
    model = empty_model(folder, torch.device("meta"))
    if needs_conversion(model, folder):
        raise ModelError(
            f"{source}: {folder.config.model_type}: its files name weights otherwise than its "
            "modules (experts one by one, or older names); such weights cannot be packed"
        )
    multiple = format_of(config).multiple
    chosen = Selection()
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        if name == "lm_head" and not config.quantize_lm_head:
            chosen.kept[name] = "output projection"
        elif module.in_features % multiple:
            chosen.kept[name] = (
                f"{module.in_features} inputs are no multiple of group_size {multiple}"
            )
        else:
            chosen.packed.append(name)
    return chosen


def _refuse_packed(folder: ModelFolder) -> None:
    for key in (CONFIG_KEY, HUB_KEY):
        if key in folder.said:
            raise ModelError(
                f"{folder.where}: {key}: its weights are packed already; "
                "start from the bf16 checkpoint"
            )


def tied_head(source: Path, chosen: Selection) -> str | None:
    """The weight that is also the output projection, where that is to be packed too."""
    tied = read_config(source).get("tie_word_embeddings", False)
    return "model.embed_tokens.weight" if "lm_head" in chosen.packed and tied else None
