"""A hub checkpoint's tensors as those of our 4-bit layers.

Our layers hold ``(code - 8) * scale + zero`` with scale and zero in bf16, so the codes are the
checkpoint's own, and ``zero = (8 - point) * scale``. Rounding scale and zero to bf16 moves a
weight by at most (15 + 8) / 256 of its step, against the half that 4 bits cost.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from serving.directory import ModelError, locate_tensors, read_tensor
from serving.quant.files import replace
from serving.quant.formats import PackedLinear, Tensors
from serving.quant.hub.config import Scheme
from serving.quant.hub.layouts import Unpacked, unpack_awq, unpack_gptq
from serving.quant.linear import Int4Linear
from serving.quant.rounding import pack

_MIDDLE = 8
_PARTS = ("qweight", "qzeros", "scales", "g_idx")


class OrderedLinear(nn.Module):
    """A packed layer whose inputs were sorted by importance before they were grouped."""

    def __init__(self, inner: Int4Linear) -> None:
        super().__init__()
        self.inner = inner
        self.in_features, self.out_features = inner.in_features, inner.out_features
        self.register_buffer("order", torch.zeros(inner.in_features, dtype=torch.int64))

    def prepare(self) -> None:
        """See ``PackedLinear``."""
        self.inner.prepare()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply activations of shape (..., in), bf16."""
        return self.inner(x[..., self.get_buffer("order")])


def install_hub(model: nn.Module, scheme: Scheme, path: Path) -> list[PackedLinear]:
    """Put an empty 4-bit layer in the place of every module that the files hold packed.

    Raises:
        ModelError: a packed module is no linear layer of this model, or none is packed.
    """
    names = _packed_names(path)
    if not names:
        raise ModelError(f"{path}: config.json says {scheme.method}, but no .qweight is in it")
    layers: list[PackedLinear] = []
    for name in names:
        layer = _layer_for(model, name, scheme, path)
        replace(model, name, layer)
        layers.append(layer)
    return layers


def _layer_for(model: nn.Module, name: str, scheme: Scheme, path: Path) -> Any:
    try:
        old = model.get_submodule(name)
    except AttributeError:
        old = None
    if not isinstance(old, nn.Linear):
        raise ModelError(f"{path}: {name}.qweight: the model has no linear module {name!r}")
    group = scheme.kernel_group(old.in_features)
    if not group:
        raise ModelError(
            f"{path}: {name}: group_size {scheme.group_size} over {old.in_features} inputs "
            "does not fit groups of 32, 64 or 128"
        )
    inner = Int4Linear(old.in_features, old.out_features, group, old.bias is not None)
    return OrderedLinear(inner) if scheme.ordered else inner


def hub_tensors(path: Path, scheme: Scheme) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of the directory by the name it has in the model, packed ones converted.

    Raises:
        ModelError: a part of a packed module is missing, damaged or of the wrong shape.
    """
    files = locate_tensors(path)
    packed = frozenset(_packed_names(path))
    inner = ".inner" if scheme.ordered else ""
    for name, file in sorted(files.items()):
        module, _, part = name.rpartition(".")
        if module not in packed:
            yield name, read_tensor(file, name)
        elif part == "qweight":
            parts = {p: _part(files, path, f"{module}.{p}") for p in _PARTS[:3]}
            places = files.get(f"{module}.g_idx")
            index = None if places is None else read_tensor(places, f"{module}.g_idx")
            for key, tensor in _converted(parts, index, scheme, f"{path}: {module}").items():
                yield f"{module}{'' if key == 'order' else inner}.{key}", tensor
        elif part == "bias":
            yield f"{module}{inner}.bias", read_tensor(file, name)


def _packed_names(path: Path) -> list[str]:
    names = sorted(locate_tensors(path))
    return [name.removesuffix(".qweight") for name in names if name.endswith(".qweight")]


def _part(files: dict[str, Path], path: Path, name: str) -> torch.Tensor:
    if name not in files:
        raise ModelError(f"{path}: weight {name!r} is missing; was the download cut off?")
    return read_tensor(files[name], name)


def _converted(parts: Tensors, index: torch.Tensor | None, scheme: Scheme, where: str) -> Tensors:
    codes = parts["qweight"]
    if codes.dtype != torch.int32 or codes.dim() != 2:
        raise ModelError(f"{where}.qweight: {codes.dtype}, {tuple(codes.shape)}: no int32 matrix")
    if scheme.method == "gptq":
        found = unpack_gptq(**parts, zero_offset=scheme.zero_offset)
    else:
        found = unpack_awq(**parts)
    _check(found, scheme, where)
    order = _order(index, scheme, found, where)
    tensors = repacked(found if order is None else _sorted(found, order), scheme)
    return tensors if order is None else {**tensors, "order": order}


def _check(found: Unpacked, scheme: Scheme, where: str) -> None:
    out, inputs = found.codes.shape
    size = inputs if scheme.group_size == -1 else scheme.group_size
    if inputs % size:
        raise ModelError(
            f"{where}.qweight: {inputs} inputs are no multiple of group_size {scheme.group_size}"
        )
    wanted = (out, inputs // size)
    for part, tensor in (("qzeros", found.points), ("scales", found.scales)):
        if tuple(tensor.shape) != wanted:
            raise ModelError(
                f"{where}.{part}: {tensor.shape[1]} groups of {tensor.shape[0]} outputs; qweight "
                f"and group_size {scheme.group_size} need {wanted[1]} of {wanted[0]}"
            )


def _order(
    index: torch.Tensor | None, scheme: Scheme, found: Unpacked, where: str
) -> torch.Tensor | None:
    """Inputs by group; None where they lie in groups as they are."""
    inputs = found.codes.shape[1]
    size = inputs if scheme.group_size == -1 else scheme.group_size
    plain = torch.arange(inputs) // size
    if index is None:
        return torch.arange(inputs) if scheme.ordered else None
    order = index.long().argsort(stable=True)
    if index.shape != plain.shape or not torch.equal(index.long()[order], plain):
        raise ModelError(f"{where}.g_idx: groups are not of {size} inputs each")
    if not scheme.ordered and not torch.equal(index.long(), plain):
        raise ModelError(f"{where}.g_idx: inputs are reordered, but desc_act is not set")
    return order if scheme.ordered else None


def _sorted(found: Unpacked, order: torch.Tensor) -> Unpacked:
    return Unpacked(found.codes[:, order], found.points, found.scales)


def repacked(found: Unpacked, scheme: Scheme) -> Tensors:
    """Buffers of an ``Int4Linear``: codes as they are, scale and zero in bf16."""
    inputs = found.codes.shape[1]
    times = inputs // scheme.kernel_group(inputs) // found.scales.shape[1]
    scales = found.scales.bfloat16()
    zeros = ((_MIDDLE - found.points) * scales.float()).bfloat16()
    return {
        "codes": pack(found.codes),
        "scales": scales.repeat_interleave(times, dim=1).contiguous(),
        "zeros": zeros.repeat_interleave(times, dim=1).contiguous(),
    }
