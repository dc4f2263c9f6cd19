"""The linear layer over 4-bit weights."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from serving.gpu.int4 import int4_linear
from serving.gpu.ready import runs_kernels
from serving.quant.copies import Copy, CopyBits, make_copy
from serving.quant.rounding import Packed, dequantize, dequantize_halves, unpack

_ROW_MULTIPLE = 16
"""torch's CPU kernel packs output rows in blocks of 16."""
_DENSE_ROWS = 64
"""From so many rows of activations on, dequantising first and multiplying in bf16 is faster:
the 4-bit kernel's time grows with the rows, that of unpacking does not."""


class Int4Linear(nn.Module):
    """``x @ weight.T + bias`` with packed weights and bf16 activations.

    Uses our kernels on a GPU (``serving.gpu.int4``), torch's on a CPU where the shape allows it,
    else dequantises at each call.
    """

    def __init__(self, in_features: int, out_features: int, group_size: int, bias: bool) -> None:
        super().__init__()
        groups = in_features // group_size
        self.in_features, self.out_features = in_features, out_features
        self.group_size = group_size
        self.register_buffer("codes", torch.zeros(out_features, in_features // 2).to(torch.uint8))
        self.register_buffer("scales", torch.zeros(out_features, groups).bfloat16())
        self.register_buffer("zeros", torch.zeros(out_features, groups).bfloat16())
        self.bias = nn.Parameter(torch.zeros(out_features).bfloat16()) if bias else None
        self._kernel: tuple[torch.Tensor, torch.Tensor] | None = None
        self._dense: Copy | None = None
        self._dense_rows = _DENSE_ROWS
        self._on_gpu = False

    def prepare(self) -> None:
        """Choose the kernel and repack for it, once the codes are loaded and where they run."""
        device = self.get_buffer("codes").device
        self._on_gpu = runs_kernels(device)
        if self._on_gpu or device.type != "cpu" or self.out_features % _ROW_MULTIPLE:
            return
        packed = self._packed()
        weight = torch.ops.aten._convert_weight_to_int4pack_for_cpu(unpack(packed.codes), 1)
        # (in / group, out, 2) of scale and zero.
        pairs = torch.stack((packed.scales, packed.zeros), dim=2).transpose(0, 1).contiguous()
        self._kernel = (weight, pairs)

    def release(self) -> None:
        """Drop everything but the codes; the layer still works, slowly."""
        self._kernel = self._dense = None
        self._dense_rows = _DENSE_ROWS

    def keep_dense(self, rows: int, bits: CopyBits = 8) -> None:
        """Keep a copy for ``rows`` rows of activations or more: memory for speed."""
        self._dense = self.copy(bits)
        self._dense_rows = rows

    def copy(self, bits: CopyBits) -> Copy:
        """A copy of the weights, to multiply many rows with."""
        return make_copy(bits, dequantize(self._packed()), self.bias)

    @property
    def dense_rows(self) -> int | None:
        """Rows from which on the copy is used; None without one."""
        return None if self._dense is None else self._dense_rows

    @property
    def kept_bytes(self) -> int:
        """Bytes beside its buffers: what the kernel multiplies with, and the copy."""
        kernel = sum(tensor.nbytes for tensor in self._kernel or ())
        return kernel + (0 if self._dense is None else self._dense.nbytes)

    @property
    def copy_bits(self) -> CopyBits | None:
        """Bits per weight of the copy; None without one."""
        return None if self._dense is None else self._dense.bits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply activations of shape (..., in), bf16."""
        rows = x.reshape(-1, self.in_features)
        if self._on_gpu:
            out = int4_linear(rows.contiguous(), self._packed(), self.bias)
            return out.reshape(*x.shape[:-1], self.out_features)
        if self._kernel is None or len(rows) >= self._dense_rows:
            return self._multiply_dense(x)
        weight, pairs = self._kernel
        out = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, weight, self.group_size, pairs)
        out = out.reshape(*x.shape[:-1], self.out_features)
        return out if self.bias is None else out + self.bias

    def _multiply_dense(self, x: torch.Tensor) -> torch.Tensor:
        if self._dense is not None:
            out = self._dense(x.reshape(-1, self.in_features))
            return out.reshape(*x.shape[:-1], self.out_features)
        # A byte holds an even and an odd input: apart, no code has to move to its place.
        halves = torch.cat((x[..., 0::2], x[..., 1::2]), dim=-1)
        return nn.functional.linear(halves, dequantize_halves(self._packed(), x.dtype), self.bias)

    def _packed(self) -> Packed:
        return Packed(self.get_buffer("codes"), self.get_buffer("scales"), self.get_buffer("zeros"))


def join_int4(layers: Sequence[Int4Linear]) -> Int4Linear | Callable[[torch.Tensor], torch.Tensor]:
    """One layer that gives the outputs of several side by side; they keep views of its codes."""
    first = layers[0]
    sizes = [layer.out_features for layer in layers]
    if any(size % _ROW_MULTIPLE for size in sizes) or first.bias is not None:
        return lambda x: torch.cat([layer(x) for layer in layers], dim=-1)
    joined = Int4Linear(first.in_features, sum(sizes), first.group_size, bias=False)
    for name in ("codes", "scales", "zeros"):
        whole = torch.cat([layer.get_buffer(name) for layer in layers])
        joined.register_buffer(name, whole)
        for layer, piece in zip(layers, whole.split(sizes), strict=True):
            layer.register_buffer(name, piece)
    rows, bits = first.dense_rows, first.copy_bits
    for layer in layers:
        layer.release()
    joined.prepare()
    if rows is not None and bits is not None:
        joined.keep_dense(rows, bits)
    return joined
