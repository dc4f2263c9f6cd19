"""Safetensors in several files: read one tensor at a time, written one tensor at a time."""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from clusters.config import ConfigError
from trainer.safetensors_header import header_bytes

INDEX_NAME = "model.safetensors.index.json"
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}


@dataclass(frozen=True)
class Described:
    """A tensor that is yet to be read or written."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """Size of its values."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


@dataclass(frozen=True)
class Planned:
    """A tensor to be written, and how to make it when its turn comes."""

    tensor: Described
    make: Callable[[], torch.Tensor]


class TensorFolder:
    """The tensors of a folder's ``*.safetensors``, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        """Read the headers.

        Raises:
            ConfigError: there are none, one is broken, or one that the index names is missing.
        """
        self._files: dict[str, Path] = {}
        self.tensors: dict[str, Described] = {}
        index = folder / INDEX_NAME
        named = {folder / "model.safetensors"}
        if index.is_file():
            try:
                weights = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
                named = {folder / name for name in weights.values()}
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ConfigError(f"{index}: damaged: {error!r}; fetch it again") from None
        for path in sorted(named):
            if not path.is_file():
                raise ConfigError(
                    f"{path}: missing; weights are read from safetensors only, so convert others "
                    "first or fetch the rest of the checkpoint"
                )
            self._read_header(path)

    def _read_header(self, path: Path) -> None:
        try:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118  (it is no dict)
                    part = file.get_slice(name)
                    dtype = _DTYPES[part.get_dtype()]
                    self.tensors[name] = Described(name, tuple(part.get_shape()), dtype)
                    self._files[name] = path
        except (SafetensorError, KeyError) as error:
            raise ConfigError(f"{path}: damaged: {error}; fetch it again") from error

    def read(self, name: str) -> torch.Tensor:
        """One tensor."""
        with safe_open(self._files[name], "pt") as file:
            return file.get_tensor(name)


def write_folder(folder: Path, planned: list[Planned], shard_bytes: int) -> int:
    """Write tensors in files of at most ``shard_bytes`` (or one tensor), with their index.

    Never more than one tensor is held. Returns the bytes of all values.
    """
    groups = _groups(planned, shard_bytes)
    places, total = {}, 0
    for number, group in enumerate(groups, 1):
        name = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        if len(groups) == 1:
            name = "model.safetensors"
        _write_file(folder / name, group)
        places.update({item.tensor.name: name for item in group})
        total += sum(item.tensor.bytes for item in group)
    if len(groups) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": places}
        (folder / INDEX_NAME).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return total


def _groups(planned: Iterable[Planned], shard_bytes: int) -> list[list[Planned]]:
    groups: list[list[Planned]] = [[]]
    used = 0
    for item in planned:
        if groups[-1] and used + item.tensor.bytes > shard_bytes:
            groups.append([])
            used = 0
        groups[-1].append(item)
        used += item.tensor.bytes
    return groups


def _write_file(path: Path, group: list[Planned]) -> None:
    tensors = (item.tensor for item in group)
    described = ((t.name, _NAMES[t.dtype], t.shape, t.bytes) for t in tensors)
    with open(path, "wb") as file:
        file.write(header_bytes(described, {"format": "pt"}))
        for item in group:
            values = item.make()
            if (tuple(values.shape), values.dtype) != (item.tensor.shape, item.tensor.dtype):
                raise AssertionError(f"{item.tensor}: made as {values.shape} {values.dtype}")
            raw = values.contiguous().reshape(-1).view(torch.uint8)
            file.write(memoryview(raw.numpy().data))
        file.flush()
        os.fsync(file.fileno())
