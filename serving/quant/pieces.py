"""A model's packed weights in pieces, each a file that is written for itself.

Without calibration a piece is a weight file; with it, a decoder layer. Either way no more than
one piece is in memory, and the bytes of a piece do not depend on which were written before.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from clusters.progress import Progress
from clusters.units import Units
from serving.directory import tensors_of, weight_files
from serving.quant.awq.layer import pack_layer
from serving.quant.awq.walk import LayerWalk
from serving.quant.config import QuantizeConfig
from serving.quant.formats import Format, Tensors, format_of
from serving.quant.rounding import relative_error
from serving.quant.select import Selection, tied_head


@dataclass
class FileStats:
    """What packing one piece came to."""

    bytes_before: int = 0
    bytes_after: int = 0
    relative_errors: dict[str, float] = field(default_factory=dict)
    """Module -> Frobenius norm of the error over that of the weight (scaled, with ``awq``)."""


class Pieces(Protocol):
    """Pieces in order: each is made, or skipped where it is there already."""

    count: int
    unit: str
    """What a piece is, plural."""

    def make(self, index: int, target: Path) -> FileStats:
        """Write piece ``index``."""
        ...

    def skip(self, index: int) -> None:
        """Go past piece ``index``."""
        ...


def piece_name(config: QuantizeConfig, index: int) -> str:
    """File name of piece ``index``."""
    return f"int{config.bits}-{index:05d}.safetensors"


def pieces_of(
    source: Path, chosen: Selection, config: QuantizeConfig, windows: list[list[int]]
) -> Pieces:
    """How a model is cut.

    Args:
        source: model directory.
        chosen: what is packed.
        config: how.
        windows: calibration text, for ``awq``.
    """
    if config.method == "awq":
        return ByLayer(source, chosen, config, windows)
    return ByFile(source, chosen, config)


def make_pieces(
    pieces: Pieces, units: Units, config: QuantizeConfig, progress: Progress
) -> list[dict[str, Any]]:
    """Make each piece as a unit of its own; those that are published are only gone past.

    Returns:
        ``FileStats`` of all pieces, as plain data.
    """
    with progress.task("quantize", pieces.count, pieces.unit) as task:
        for index in range(pieces.count):
            name = f"quantize/{index:05d}"
            if units.pending([name]):
                with units.start(name) as unit:
                    target = unit.path(f"model/{piece_name(config, index)}")
                    unit.stats = vars(pieces.make(index, target))
                task.advance()
            else:
                pieces.skip(index)
                task.resume(index + 1)
    return [record.stats for record in units.records("quantize")]


def quantize_file(
    source: Path, target: Path, chosen: Selection, form: Format, lm_head_source: str | None
) -> FileStats:
    """Write the tensors of one safetensors file with the chosen modules packed.

    Args:
        source: file to read.
        target: file to write; its bytes depend on the input only.
        chosen: modules to pack.
        form: how.
        lm_head_source: weight that is also the output projection (tied embeddings), where
            that is to be packed; it is written twice, whole and packed.
    """
    writer = _Writer(form, chosen)
    for name, tensor in tensors_of(source):
        writer.add(name, tensor, also_head=name == lm_head_source)
    return writer.save(target)


class ByFile:
    """A piece is a weight file."""

    unit = "files"

    def __init__(self, source: Path, chosen: Selection, config: QuantizeConfig) -> None:
        self._files = weight_files(source)
        self._chosen, self._form = chosen, format_of(config)
        self._head = tied_head(source, chosen)
        self.count = len(self._files)

    def make(self, index: int, target: Path) -> FileStats:
        """See ``Pieces``."""
        return quantize_file(self._files[index], target, self._chosen, self._form, self._head)

    def skip(self, index: int) -> None:
        """See ``Pieces``."""


class ByLayer:
    """Piece 0 is what belongs to no layer, the others are the decoder layers."""

    unit = "layers"

    def __init__(
        self, source: Path, chosen: Selection, config: QuantizeConfig, windows: list[list[int]]
    ) -> None:
        self._walk = LayerWalk(source, windows)
        self._chosen, self._config = chosen, config
        self._head = tied_head(source, chosen)
        self.count = self._walk.count + 1

    def make(self, index: int, target: Path) -> FileStats:
        """See ``Pieces``."""
        writer = _Writer(format_of(self._config), self._chosen)
        if not index:
            for name in self._walk.rest():
                writer.add(name, self._walk.tensor(name), also_head=name == self._head)
            return writer.save(target)
        before, weights, seen = self._walk.step(index - 1, watch=True)
        prefix = f"model.layers.{index - 1}."
        packed = [n.removeprefix(prefix) for n in self._chosen.packed if n.startswith(prefix)]
        kept, made, errors = pack_layer(
            weights, seen, packed, self._config.group_size, self._walk.head_dim
        )
        for name, tensor in kept.items():
            writer.out[prefix + name] = tensor.bfloat16()
        for name, tensors in made.items():
            writer.packed(prefix + name, vars(tensors), errors[name])
        writer.stats.bytes_before = before
        return writer.save(target)

    def skip(self, index: int) -> None:
        """See ``Pieces``."""
        if index:
            self._walk.step(index - 1, watch=False)


class _Writer:
    """The tensors of one file."""

    def __init__(self, form: Format, chosen: Selection) -> None:
        self._form, self._packed = form, frozenset(chosen.packed)
        self.stats = FileStats()
        self.out: Tensors = {}

    def add(self, name: str, tensor: torch.Tensor, also_head: bool = False) -> None:
        """Pack or keep one tensor of the source."""
        self.stats.bytes_before += tensor.nbytes
        module = name.removesuffix(".weight")
        if module in self._packed:
            self._pack(module, tensor)
            return
        self.out[name] = tensor.bfloat16()
        if also_head:
            self._pack("lm_head", tensor)

    def packed(self, module: str, tensors: Tensors, error: float) -> None:
        """Take a module that is packed already."""
        self.out |= {f"{module}.{name}": tensor for name, tensor in tensors.items()}
        self.stats.relative_errors[module] = error

    def save(self, target: Path) -> FileStats:
        """Write the file."""
        from safetensors.torch import save_file

        save_file(self.out, target, metadata={"format": "pt"})
        self.stats.bytes_after = sum(tensor.nbytes for tensor in self.out.values())
        return self.stats

    def _pack(self, module: str, weight: torch.Tensor) -> None:
        tensors = self._form.pack(weight)
        self.packed(module, tensors, relative_error(weight, self._form.unpack(tensors)))
