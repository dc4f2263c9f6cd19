"""Packed weights of a model directory, ours or the hub's: layers for them, and their tensors."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from serving.directory import tensors_of, weight_files
from serving.folder import ModelFolder

if TYPE_CHECKING:
    import torch

    from serving.quant.formats import PackedLinear


def install_packed(model: Any, folder: ModelFolder) -> "list[PackedLinear]":
    """Put empty layers over packed weights in the place of what is packed.

    Raises:
        ModelError: what config.json says cannot be read or does not fit the model.
    """
    from serving.quant.files import install
    from serving.quant.hub.weights import install_hub

    if folder.weights is not None:
        return install(model, folder.weights, folder.path)
    if folder.scheme is not None:
        return install_hub(model, folder.scheme, folder.path)
    return []


def model_tensors(folder: ModelFolder) -> "Iterator[tuple[str, torch.Tensor]]":
    """Every tensor by the name it has in the model.

    Raises:
        ModelError: a file is missing or damaged, or a packed module is not whole.
    """
    if folder.weights is None and folder.scheme is not None:
        from serving.quant.hub.weights import hub_tensors

        yield from hub_tensors(folder.path, folder.scheme)
        return
    for file in weight_files(folder.path):
        yield from tensors_of(file)
