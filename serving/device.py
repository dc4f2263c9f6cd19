"""Where a model runs."""

from typing import TYPE_CHECKING

from serving.directory import ModelError
from serving.settings import EngineSettings

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda")


def device_of(settings: EngineSettings) -> "torch.device":
    """The device that settings ask for.

    Raises:
        ModelError: there is none such, or it cannot do what else they ask for.
    """
    import torch

    wanted, ranks = settings.device, settings.tensor_parallel
    if wanted not in DEVICES:
        raise ModelError(f"device is {wanted!r}; choose one of {', '.join(DEVICES)}")
    there = torch.cuda.is_available()
    if wanted == "auto":
        return torch.device("cuda" if there and ranks == 1 else "cpu")
    if wanted == "cuda" and not there:
        raise ModelError("device is 'cuda', but torch sees no GPU here; use 'auto' or 'cpu'")
    if wanted == "cuda" and ranks > 1:
        raise ModelError("device is 'cuda', but tensor_parallel runs on CPUs only")
    return torch.device(wanted)
