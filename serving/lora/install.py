"""Puts adapters onto the layers of a model and takes them off."""

from typing import Any

import torch
from torch import nn

from serving.lora.files import Adapter, AdapterError, Pair
from serving.lora.site import hook


def check_adapter(model: nn.Module, adapter: Adapter, ranks: int = 1) -> None:
    """Refuse an adapter that does not fit the model.

    Args:
        model: the base, or one rank's part of it.
        adapter: what is to be added.
        ranks: over how many ranks the model is cut.

    Raises:
        AdapterError: names the module and both shapes.
    """
    made_for = f"; the adapter was trained on {adapter.base!r}" if adapter.base else ""
    for name, pair in adapter.pairs.items():
        layer = _layer(model, name)
        if layer is None and name == "lm_head":
            raise AdapterError(
                "adapter: lm_head: the output projection takes none; merge the adapter"
            )
        if layer is None:
            raise AdapterError(f"adapter: {name} is no linear layer of this model{made_for}")
        along = getattr(layer, "cut_along", None)
        inputs = layer.in_features * (ranks if along == 1 else 1)
        outputs = layer.out_features * (ranks if along == 0 else 1)
        if (pair.b.shape[0], pair.a.shape[1]) != (outputs, inputs):
            raise AdapterError(
                f"adapter: {name} maps {pair.a.shape[1]} inputs to {pair.b.shape[0]} outputs, "
                f"this model's {inputs} to {outputs}{made_for}"
            )


def install(
    model: nn.Module, name: str, adapter: Adapter, dtype: torch.dtype, rank: int = 0, ranks: int = 1
) -> None:
    """Put a checked adapter onto a model, or onto one rank's part of it."""
    for module, pair in adapter.pairs.items():
        layer: Any = _layer(model, module)
        if "adapters" not in layer.__dict__:
            layer.adapters = {}
            # A layer whose outputs are summed over ranks adds its own before the sum.
            if not hasattr(layer, "adds_adapters"):
                layer.register_forward_hook(hook)
        a, b = pair.a, pair.b
        along = getattr(layer, "cut_along", None)
        if along == 1:
            a = a.chunk(ranks, dim=1)[rank]
        elif along == 0:
            b = b.chunk(ranks, dim=0)[rank]
        device = next(iter(layer.state_dict().values())).device
        layer.adapters[name] = Pair(
            a.to(device, dtype).contiguous(), b.to(device, dtype).contiguous()
        )


def remove(model: nn.Module, name: str) -> None:
    """Take an adapter off all layers; one that is not there changes nothing."""
    for layer in model.modules():
        layer.__dict__.get("adapters", {}).pop(name, None)


def _layer(model: nn.Module, name: str) -> Any:
    """The linear layer of that name; None where it is something else or the output projection."""
    try:
        layer = model.get_submodule(name)
    except AttributeError:
        return None
    if not hasattr(layer, "in_features") or name == "lm_head":
        return None
    return layer
