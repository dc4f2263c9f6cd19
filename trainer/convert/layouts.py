"""Converts a whole checkpoint folder between InternLM2's and Llama's layout."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusters.config import ConfigError
from trainer.convert import internlm2
from trainer.convert.complete import SIZES, check_complete
from trainer.convert.safetensors_files import Planned, TensorFolder, write_folder

_CODE = ("modeling_", "configuration_")
_WEIGHTS = (".safetensors", ".index.json", ".bin", ".pt", ".pth")
SHARD_BYTES = 5 << 30


@dataclass(frozen=True)
class Direction:
    """One way to convert."""

    source: str
    """``model_type`` that is taken."""
    config: Callable[[dict[str, Any]], dict[str, Any]]
    tensors: Callable[..., list[Planned]]


DIRECTIONS = {
    "llama": Direction("internlm2", internlm2.config_to_llama, internlm2.to_llama),
    "internlm2": Direction("llama", internlm2.config_to_internlm2, internlm2.to_internlm2),
}


def convert(source: Path, target: Path, to: str, shard_bytes: int = SHARD_BYTES) -> dict[str, Any]:
    """Write ``source``'s checkpoint to ``target`` in the layout ``to``.

    ``config.json`` is written last: a folder without one is an unfinished conversion.

    Returns:
        ``tensors``, ``bytes`` and ``parameters`` that were written.

    Raises:
        ConfigError: the source is missing, broken or of another layout, or the target is
            not empty.
    """
    if to not in DIRECTIONS:
        raise ConfigError(f"--to {to!r}: expected one of {', '.join(DIRECTIONS)}")
    direction = DIRECTIONS[to]
    config = _config(source, direction)
    folder = TensorFolder(source)
    planned = direction.tensors(folder.tensors, folder.read, internlm2.Heads.of(config))
    made = direction.config(config)
    if to == "llama":
        check_complete((item.tensor for item in planned), made)
    else:
        check_complete(folder.tensors.values(), config)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target}: is not empty; name a new folder")
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name != "config.json" and _is_kept(path.name):
            shutil.copyfile(path, target / path.name)
    size = write_folder(target, planned, shard_bytes)
    (target / "config.json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    parameters = sum(_elements(item.tensor.shape) for item in planned)
    return {"tensors": len(planned), "bytes": size, "parameters": parameters}


def _is_kept(name: str) -> bool:
    """Whether a file is neither weights nor the code of the other layout."""
    return not name.endswith(_WEIGHTS) and not name.startswith(_CODE)


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


def _config(source: Path, direction: Direction) -> dict[str, Any]:
    path = source / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: missing; name a checkpoint in Hugging Face's layout") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path}: not JSON: {error}") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: expected an object, got {type(config).__name__}")
    kind = config.get("model_type")
    if kind != direction.source:
        raise ConfigError(f"{path}: model_type {kind!r}, this way takes {direction.source!r}")
    missing = [key for key in SIZES if not config.get(key)]
    if missing:
        raise ConfigError(f"{path}: {missing[0]}: missing")
    for key in (*SIZES, "num_key_value_heads", "head_dim"):
        size = config.get(key)
        if size is not None and (not isinstance(size, int) or size <= 0):
            raise ConfigError(f"{path}: {key}: expected a whole number above 0, got {size!r}")
    heads, kv_heads = config["num_attention_heads"], config.get("num_key_value_heads") or 1
    if heads % kv_heads:
        raise ConfigError(
            f"{path}: num_key_value_heads: {kv_heads} does not divide num_attention_heads {heads}"
        )
    return config
