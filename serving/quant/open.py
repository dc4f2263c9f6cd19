"""Packed weights of a model directory, ours or the hub's: layers for them, and their tensors."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.directory import read_config, tensors_of, weight_files
from serving.quant.config import CONFIG_KEY, HUB_KEY

if TYPE_CHECKING:
    import torch

    from serving.quant.formats import PackedLinear


def is_packed(path: Path) -> bool:
    """Whether config.json says that weights are packed."""
    said = read_config(path)
    return CONFIG_KEY in said or HUB_KEY in said


def install_packed(model: Any, path: Path) -> "list[PackedLinear]":
    """Put empty layers over packed weights in the place of what is packed.

    Raises:
        ModelError: what config.json says cannot be read or does not fit the model.
    """
    from serving.quant.files import install, quantized_weights
    from serving.quant.hub.config import scheme_of
    from serving.quant.hub.weights import install_hub

    weights = quantized_weights(path)
    if weights is not None:
        return install(model, weights, path)
    scheme = scheme_of(path)
    return [] if scheme is None else install_hub(model, scheme, path)


def model_tensors(path: Path) -> "Iterator[tuple[str, torch.Tensor]]":
    """Every tensor by the name it has in the model.

    Raises:
        ModelError: a file is missing or damaged, or a packed module is not whole.
    """
    if HUB_KEY in read_config(path):
        from serving.quant.hub.config import scheme_of
        from serving.quant.hub.weights import hub_tensors

        scheme = scheme_of(path)
        if scheme is not None:
            yield from hub_tensors(path, scheme)
        return
    for file in weight_files(path):
        yield from tensors_of(file)


def measured_dense_rows(path: Path) -> int | None:
    """Rows from which a bf16 copy was measured to be faster, where the directory says so."""
    from serving.quant.files import quantized_weights

    weights = quantized_weights(path)
    return None if weights is None else weights.dense_rows
