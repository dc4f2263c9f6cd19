"""What a hub checkpoint's ``quantization_config`` says, as far as it matters here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.directory import ModelError
from serving.quant.config import HUB_KEY

_GROUPS = (128, 64, 32)
_LAYOUTS = {"gptq": ("gptq", "gptq_v2"), "awq": ("gemm",)}


@dataclass(frozen=True)
class Scheme:
    """How the linear weights of a checkpoint are packed; always 4 bits."""

    method: str
    """``gptq`` or ``awq``."""
    group_size: int
    """Inputs per scale; -1 is all."""
    ordered: bool = False
    """Whether inputs are grouped by importance (``desc_act``), not by place."""
    zero_offset: int = 0
    """What is added to stored zero points: the first GPTQ layout stores one less."""

    def kernel_group(self, in_features: int) -> int:
        """Largest group our layer can have that lies within the checkpoint's; 0 for none."""
        whole = in_features if self.group_size == -1 else self.group_size
        return next((g for g in _GROUPS if whole % g == 0 and in_features % g == 0), 0)


def scheme_of(config: dict[str, Any], file: Path) -> Scheme | None:
    """The scheme that a config.json names, or None where the hub's key is not there.

    Args:
        config: its contents.
        file: where it stands, for errors.

    Raises:
        ModelError: it is none that can be read.
    """
    said = config.get(HUB_KEY)
    if said is None:
        return None
    where = f"{file}: {HUB_KEY}"
    if not isinstance(said, dict):
        raise ModelError(f"{where}: not an object")
    method = said.get("quant_method")
    if method not in _LAYOUTS:
        raise ModelError(
            f"{where}.quant_method: {method!r}: known are {', '.join(sorted(_LAYOUTS))}; "
            "load the bf16 checkpoint and quantise it with `inkstone serve quantize`"
        )
    layout = _layout(said, method)
    if layout not in _LAYOUTS[method]:
        raise ModelError(
            f"{where}: {method} of layout {layout!r}: known are {', '.join(_LAYOUTS[method])}"
        )
    bits = said.get("bits", said.get("w_bit"))
    if bits != 4:
        raise ModelError(f"{where}.bits: {bits!r}: 4 alone is known")
    return Scheme(
        method=method,
        group_size=_group_size(said, where),
        ordered=method == "gptq" and bool(said.get("desc_act", False)),
        zero_offset=1 if layout == "gptq" else 0,
    )


def _layout(said: dict[str, Any], method: str) -> str:
    key, usual = ("checkpoint_format", "gptq") if method == "gptq" else ("version", "gemm")
    return str(said.get(key) or usual).lower()


def _group_size(said: dict[str, Any], where: str) -> int:
    size = said.get("group_size", said.get("q_group_size"))
    if not isinstance(size, int) or (size != -1 and (size < 1 or size % 32)):
        raise ModelError(f"{where}.group_size: {size!r}: -1 or a multiple of 32 is known")
    return size
