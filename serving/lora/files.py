"""Reads an adapter as peft writes it: ``adapter_config.json`` and ``adapter_model.safetensors``.

An adapter adds ``scale * B (A x)`` to a linear layer's output (Hu et al. 2021, arXiv
2106.09685), with scale ``alpha / r``, or ``alpha / sqrt(r)`` where it is rank-stabilised
(Kalajdzievski 2023, arXiv 2312.03732).
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3
from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.engine import EngineError
from contracts.manifest import hash_file

if TYPE_CHECKING:
    import torch

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_REFUSED: dict[str, tuple[Any, ...]] = {
    "use_dora": (False, None),
    "bias": ("none", None),
    "lora_bias": (False, None),
    "modules_to_save": (None, []),
    "layer_replication": (None, []),
    "fan_in_fan_out": (False, None),
    "trainable_token_indices": (None, []),
    "target_parameters": (None, []),
    "use_qalora": (False, None),
    "alora_invocation_tokens": (None, []),
    "arrow_config": (None,),
    "kasa_config": (None,),
}
"""Settings that mean more than two matrices per layer, and the values that mean nothing."""
_MOVES_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Beginnings of ``init_lora_weights`` that also take the matrices' first values off the base."""


class AdapterError(EngineError):
    """An adapter that is missing, damaged, unsupported, or made for another model."""


class _Said(BaseModel):
    """What of ``adapter_config.json`` decides the numbers."""

    model_config = ConfigDict(extra="ignore")

    peft_type: str
    r: int
    lora_alpha: float
    use_rslora: bool = False
    rank_pattern: dict[str, int] = {}
    alpha_pattern: dict[str, float] = {}
    base_model_name_or_path: str | None = None


@dataclass(frozen=True)
class Pair:
    """What is added to one layer."""

    a: "torch.Tensor"
    """(rank, in)."""
    b: "torch.Tensor"
    """(out, rank), the scale multiplied in."""


@dataclass(frozen=True)
class Adapter:
    """An adapter in memory."""

    pairs: dict[str, Pair]
    """By the name of the module that each is added to."""
    digest: str
    """blake3 of its two files: which adapter answers."""
    base: str | None
    """The model it says it was trained on."""


def read_adapter(path: Path) -> Adapter:
    """An adapter's matrices and digest.

    Raises:
        AdapterError: says which file, key or tensor is wrong.
    """
    said = _config(path / CONFIG)
    try:
        tensors = _tensors(path / WEIGHTS)
    except FileNotFoundError:
        raise AdapterError(f"{path / WEIGHTS}: missing; is this an adapter's folder?") from None
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        module, which = _place(key, path)
        halves.setdefault(module, {})[which] = tensor
    pairs = {module: _pair(module, found, said, path) for module, found in halves.items()}
    if not pairs:
        raise AdapterError(f"{path / WEIGHTS}: no tensor in it")
    return Adapter(pairs, _digest(path), said.base_model_name_or_path)


def _config(path: Path) -> _Said:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        said = _Said.model_validate(raw)
    except FileNotFoundError:
        raise AdapterError(f"{path}: missing; is this an adapter's folder?") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the whole"
        raise AdapterError(f"{path}: {key}: {first['msg']}") from error
    except (OSError, ValueError) as error:
        raise AdapterError(f"{path}: unreadable: {error}") from error
    if said.peft_type != "LORA":
        raise AdapterError(f"{path}: peft_type: {said.peft_type!r}; only LORA is served")
    for key, harmless in _REFUSED.items():
        if raw.get(key) not in harmless:
            raise AdapterError(f"{path}: {key}: {raw[key]!r} is not supported; merge the adapter")
    start = raw.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_MOVES_THE_BASE):
        raise AdapterError(
            f"{path}: init_lora_weights: {start!r} changes the base's own weights, which are "
            "shared here; merge the adapter, or let peft save it as plain LoRA "
            "(path_initial_model_for_weight_conversion)"
        )
    if said.r < 1:
        raise AdapterError(f"{path}: r: {said.r}; a rank is at least 1")
    return said


def _tensors(path: Path) -> "dict[str, torch.Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{path}: damaged or half written ({error})") from error


def _place(key: str, path: Path) -> tuple[str, str]:
    """(module, ``A`` or ``B``) that a tensor belongs to."""
    name = key.removeprefix(_PREFIX)
    for which in ("A", "B"):
        ending = f".lora_{which}.weight"
        if key.startswith(_PREFIX) and name.endswith(ending):
            return name.removesuffix(ending), which
    raise AdapterError(f"{path / WEIGHTS}: {key}: no LoRA matrix of a linear layer")


def _pair(module: str, found: "dict[str, torch.Tensor]", said: _Said, path: Path) -> Pair:
    import torch

    where = f"{path / WEIGHTS}: {module}"
    if found.keys() != {"A", "B"}:
        raise AdapterError(f"{where}: only lora_{next(iter(found))} is there")
    rank, alpha = _rank_and_alpha(module, said, path)
    a, b = found["A"], found["B"]
    if a.dim() != 2 or b.dim() != 2 or (len(a), b.shape[1]) != (rank, rank):
        raise AdapterError(
            f"{where}: lora_A is {tuple(a.shape)} and lora_B {tuple(b.shape)}; "
            f"{CONFIG} says rank {rank}"
        )
    scaled = b.float() * (alpha / (math.sqrt(rank) if said.use_rslora else rank))
    if not (torch.isfinite(a).all() and torch.isfinite(scaled).all()):
        raise AdapterError(f"{where}: NaN or infinity in its matrices or its alpha")
    return Pair(a, scaled)


def _rank_and_alpha(module: str, said: _Said, path: Path) -> tuple[int, float]:
    """What the config says of one module, by pattern where one fits it."""
    from peft.utils.other import get_pattern_key

    try:
        rank = said.rank_pattern.get(get_pattern_key(list(said.rank_pattern), module), said.r)
        alpha = said.alpha_pattern.get(
            get_pattern_key(list(said.alpha_pattern), module), said.lora_alpha
        )
    except re.error as error:
        where = f"{path / CONFIG}: rank_pattern or alpha_pattern"
        raise AdapterError(f"{where}: no regular expression: {error}") from error
    if rank < 1:
        raise AdapterError(f"{path / CONFIG}: rank_pattern: {rank}; a rank is at least 1")
    return rank, alpha


def _digest(path: Path) -> str:
    hasher = blake3()
    for name in (CONFIG, WEIGHTS):
        hasher.update(f"{name} {hash_file(path / name)[1]}\n".encode())
    return hasher.hexdigest()
