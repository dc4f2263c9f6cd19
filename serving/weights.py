"""Fills a model with the weights of its files: every one from them, and none made up."""

import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from serving.directory import ModelError, locate_tensors
from serving.folder import ModelFolder
from serving.quant.open import model_tensors
from serving.support import refuse_foreign_attention, refuse_foreign_rotary, refuse_unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from transformers import PreTrainedModel

    Part = Callable[[str, torch.Tensor], torch.Tensor]

_BUILDING = threading.Lock()
"""transformers switches initialisation off for the whole process: one model at a time."""
_OLD_NAMES = (
    "; where it is an older name, only tensor_parallel 1 reads it: use that, or write the folder "
    "anew with transformers' from_pretrained and save_pretrained"
)


def empty_model(folder: ModelFolder, device: "torch.device | None" = None) -> "PreTrainedModel":
    """The modules that config.json describes, their weights not yet set.

    Raises:
        ModelError: it describes no causal language model, or one that this engine cannot run.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    # bf16 is what the packed layers multiply with.
    dtype = torch.bfloat16 if folder.packed else folder.dtype
    try:
        with _BUILDING, no_init_weights(), device or nullcontext():
            model = AutoModelForCausalLM.from_config(folder.config, dtype=dtype)
    except Exception as error:  # a config that does not fit its own family raises anything
        # What follows the first line may be a list of all families there are.
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelError(
            f"{folder.path}: {folder.config.model_type}: no causal language model: {reason}"
        ) from error
    refuse_unsupported(folder.config, folder.where)
    refuse_foreign_attention(model, folder.where)
    refuse_foreign_rotary(model, folder.where)
    return model


def fill(model: "PreTrainedModel", folder: ModelFolder, part: "Part | None" = None) -> None:
    """Copy the weights of the files, or the ``part`` of each, into the model; tie what is tied.

    Raises:
        ModelError: weights are missing, unknown, damaged or of another shape.
    """
    path, own = folder.path, model.state_dict()
    seen = set()
    for name, tensor in model_tensors(folder):
        if name not in own:
            raise _unknown(folder, name, "" if part is None else _OLD_NAMES)
        if part is not None:
            tensor = part(name, tensor)
        if own[name].shape != tensor.shape:
            raise ModelError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, "
                f"config.json says {tuple(own[name].shape)}"
            )
        own[name].copy_(tensor)
        seen.add(name)
    _refuse_missing(folder, own.keys() - seen - set(_tied(model)))
    model.tie_weights()


def needs_conversion(model: "PreTrainedModel", folder: ModelFolder) -> bool:
    """Whether the files have names that the model has not.

    Mixtures of experts keep one tensor per expert in their files and one for all in the model;
    older checkpoints have older names.
    """
    if folder.packed:
        return False
    return not locate_tensors(folder.path).keys() <= model.state_dict().keys()


def converted(folder: ModelFolder) -> "PreTrainedModel":
    """The model as transformers itself reads it, which knows each family's older names.

    Raises:
        ModelError: weights are missing, unknown, damaged or of another shape.
    """
    from transformers import AutoModelForCausalLM

    try:
        with _BUILDING:
            read: Any = AutoModelForCausalLM.from_pretrained(
                str(folder.path),
                config=folder.config,
                dtype=folder.dtype,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
            )
    except (RuntimeError, ValueError, OSError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{folder.path}: its weights are not whole: {reason}") from error
    model, told = read
    for name in sorted(told["unexpected_keys"]):
        raise _unknown(folder, name)
    for name, *shapes in sorted(told["mismatched_keys"]):
        said, wanted = (tuple(shape) for shape in shapes)
        raise ModelError(f"{folder.path}: {name} has shape {said}, config.json says {wanted}")
    _refuse_missing(folder, set(told["missing_keys"]))
    return model


def _tied(model: "PreTrainedModel") -> dict[str, Any]:
    return getattr(model, "all_tied_weights_keys", None) or {}


def _unknown(folder: ModelFolder, name: str, remedy: str = "") -> ModelError:
    return ModelError(f"{folder.path}: unknown weight {name!r} for this config.json{remedy}")


def _refuse_missing(folder: ModelFolder, missing: set[str]) -> None:
    if missing:
        some = ", ".join(sorted(missing)[:3])
        raise ModelError(f"{folder.path}: {len(missing)} weights are missing, e.g. {some}")
