"""What new weights must be before they are copied over the old ones."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch

from contracts.engine import EngineError

Part = Callable[[str, torch.Tensor], torch.Tensor]


def checked(
    state: Any, own: Mapping[str, torch.Tensor], tied: Collection[str], part: Part
) -> dict[str, torch.Tensor]:
    """New weights as tensors.

    Args:
        state: tensors or arrays by name, of the whole model.
        own: the weights that are there.
        tied: names that may be missing, for they are others' weights.
        part: what of a whole tensor is held here, by its name.

    Raises:
        EngineError: a name is missing or unknown, a shape differs, or a value is none that the
            model's type can hold (NaN, infinity, too large).
    """
    if not isinstance(state, Mapping):
        raise EngineError(f"weights: {type(state).__name__} is no state dict")
    new = {name: _tensor(name, value) for name, value in state.items()}
    missing, unknown = own.keys() - new.keys() - set(tied), new.keys() - own.keys()
    if missing or unknown:
        raise EngineError(f"weights: missing {sorted(missing)}, unknown {sorted(unknown, key=str)}")
    for name, value in new.items():
        held = part(name, value)
        if held.shape != own[name].shape:
            raise EngineError(
                f"weights: {name} has shape {tuple(held.shape)}, "
                f"the model needs {tuple(own[name].shape)}"
            )
        if own[name].is_floating_point():
            _refuse_unfit(name, value, own[name].dtype)
    return new


def _tensor(name: Any, value: Any) -> torch.Tensor:
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise EngineError(f"weights: {name} is no tensor: {error}") from error
    if tensor.is_complex() or tensor.layout != torch.strided or tensor.is_meta:
        raise EngineError(f"weights: {name} is no dense tensor of real numbers with values")
    return tensor


def _refuse_unfit(name: str, value: torch.Tensor, dtype: torch.dtype) -> None:
    if not value.numel():
        return
    most = torch.finfo(dtype).max
    low, high = (bound.item() for bound in torch.aminmax(value.detach()))
    if not -most <= low <= high <= most:  # NaN anywhere makes both NaN
        raise EngineError(
            f"weights: {name} goes from {low} to {high}; {dtype} holds {-most:g} to {most:g}"
        )
