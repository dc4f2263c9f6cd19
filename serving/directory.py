"""The files of a model directory: which there are, and whether they are whole."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from clusters.artifact import ArtifactError
from contracts.manifest import hash_file

if TYPE_CHECKING:
    import torch


class ModelError(ArtifactError):
    """A model directory that is missing, half written, damaged or unsupported."""


def read_config(path: Path) -> dict[str, Any]:
    """Contents of ``config.json``.

    Raises:
        ModelError: it is missing or no JSON object.
    """
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path}: no config.json, so no model directory") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path / 'config.json'}: unreadable: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path / 'config.json'}: not a JSON object")
    return config


def weight_files(path: Path) -> list[Path]:
    """The safetensors files of a model directory, all that its index names.

    Raises:
        ModelError: there are none, the index is damaged, or a file it names is missing.
    """
    index = path / "model.safetensors.index.json"
    found = sorted(p.name for p in path.glob("*.safetensors"))
    names = _named(index) if index.is_file() else found
    if not names:
        raise ModelError(f"{path}: no .safetensors file in it; was its writing cut off?")
    for name in names:
        if not (path / name).is_file():
            raise ModelError(f"{path / name}: missing, but {index.name} names it")
    return [path / name for name in names]


def _named(index: Path) -> list[str]:
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(index, error) from error


def check_model(path: Path) -> None:
    """Read config, tokenizer name and every weight file's header, but no weights.

    Raises:
        ModelError: the directory is missing, half written or damaged.
    """
    from safetensors import SafetensorError, safe_open

    read_config(path)
    if not (path / "tokenizer.json").is_file():
        raise ModelError(f"{path}: no tokenizer.json in it")
    for file in weight_files(path):
        try:
            with safe_open(file, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise _damaged(file, error) from error


def model_digest(path: Path) -> str:
    """blake3 over config and weights, 64 hex digits: which model answers."""
    hasher = blake3()
    for file in [path / "config.json", *weight_files(path)]:
        hasher.update(f"{file.name} {hash_file(file)[1]}\n".encode())
    return hasher.hexdigest()


def tensors_of(file: Path) -> Iterator[tuple[str, "torch.Tensor"]]:
    """Every tensor of a safetensors file, by name.

    Raises:
        ModelError: the file is cut short or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as weights:
            for name in sorted(weights.keys()):
                yield name, weights.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise _damaged(file, error) from error


def locate_tensors(path: Path) -> dict[str, Path]:
    """Which file of a model directory holds which tensor; nothing but headers is read.

    Raises:
        ModelError: a file is missing, cut short or damaged.
    """
    from safetensors import SafetensorError, safe_open

    found: dict[str, Path] = {}
    for file in weight_files(path):
        try:
            with safe_open(file, framework="numpy") as weights:
                found |= dict.fromkeys(weights.keys(), file)
        except (SafetensorError, OSError) as error:
            raise _damaged(file, error) from error
    return found


def read_tensor(file: Path, name: str) -> "torch.Tensor":
    """One tensor of a safetensors file.

    Raises:
        ModelError: the file is cut short or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as weights:
            return weights.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> ModelError:
    return ModelError(f"{file}: damaged or half written ({error}); write the checkpoint again")
