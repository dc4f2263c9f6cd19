"""Models that files describe: a config to train anew, or weights to train on from."""

import json
from pathlib import Path
from typing import Any

from clusters.artifact import Artifact
from clusters.config import ConfigError
from clusters.external import hashed
from contracts.manifest import MANIFEST_NAME, ExternalInput
from trainer.config import PretrainConfig
from trainer.models.shape import FAMILIES, ModelShape

_MEANING = ("model", "normalizer", "pre_tokenizer")
"""Parts of ``tokenizer.json`` that decide which ids a text becomes."""


def source_folder(shape: ModelShape) -> tuple[str, Path]:
    """The key that names files (``model.config``, ``model.start_from``) and their folder.

    A checkpoint (``runs/NAME/STAGE``, or an artifact's folder) stands for the ``model/`` in it.

    Raises:
        ConfigError: there is no ``config.json``.
    """
    key = "config" if shape.config else "start_from"
    path = Path(str(getattr(shape, key)))
    if path.name == "config.json":
        path = path.parent
    if (path / MANIFEST_NAME).is_file():
        path = Artifact.open(path, "checkpoint").path("model")
    for folder in (path, path / "model"):
        if (folder / "config.json").is_file():
            return f"model.{key}", folder
    raise ConfigError(f"model.{key}: {path}: no config.json there")


def external_files(config: Any) -> list[ExternalInput]:
    """What pretraining reads from outside, hashed."""
    assert isinstance(config, PretrainConfig)
    if not config.model.is_loaded:
        return []
    key, folder = source_folder(config.model)
    files = [folder / "config.json"]
    if config.model.start_from:
        weights = sorted(folder.glob("*.safetensors"))
        if not weights:
            raise ConfigError(
                f"{key}: {folder}: no *.safetensors; weights in other formats are not read"
            )
        files += weights
        files += [p for p in [folder / "tokenizer.json"] if p.is_file()]
    return [hashed(file, f"{key}/{file.name}", key) for file in files]


def source_config(shape: ModelShape) -> Any:
    """The transformers config in the files, with the shape's positions and rotary base.

    Raises:
        ConfigError: it is broken, or of a family the trainer has not been tested with.
    """
    from transformers import AutoConfig

    key, folder = source_folder(shape)
    raw = _read_json(folder / "config.json", key)
    family = raw.get("model_type")
    if family == "internlm2":
        raise ConfigError(
            f"{key}: {folder}: an InternLM2 checkpoint; convert it first: "
            f"inkstone train convert {folder} FOLDER --to llama"
        )
    if family not in FAMILIES:
        raise ConfigError(
            f"{key}: {folder}: model_type {family!r}; the trainer takes {', '.join(FAMILIES)}"
        )
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # validation errors of many kinds
        raise ConfigError(f"{key}: {folder}: {' '.join(str(error).split())}") from error
    set_positions(config, shape.rope_theta, shape.max_positions)
    return config


def set_positions(config: Any, rope_theta: float | None, max_positions: int | None) -> None:
    """Give a transformers config another rotary base and another longest sequence.

    Angles of position p and pair i are p * theta^(-2i/d) (arXiv:2104.09864); a larger base
    turns more slowly and so keeps far positions apart after a little more training
    (arXiv:2309.16039, section 2.2). What the config scales besides stays as it is.
    """
    if rope_theta is not None:
        config.rope_parameters = {**(config.rope_parameters or {}), "rope_theta": rope_theta}
    if max_positions is not None:
        config.max_position_embeddings = max_positions


def check_model(config: PretrainConfig, tokenizer: Path, vocabulary: int) -> None:
    """Refuse a model that tokens, rows or workers do not fit, before workers start.

    Args:
        tokenizer: folder of the token store's tokenizer.
        vocabulary: of the token store.

    Raises:
        ConfigError: names the key and the remedy.
    """
    shape = config.model
    if not shape.is_loaded:
        if shape.vocab_size is not None and shape.vocab_size < vocabulary:
            raise ConfigError(_too_many_tokens("model.vocab_size", shape.vocab_size, vocabulary))
        return
    key, folder = source_folder(shape)
    found = source_config(shape)
    if found.vocab_size < vocabulary:
        raise ConfigError(_too_many_tokens(f"{key}: {folder}", found.vocab_size, vocabulary))
    length, longest = config.sequence_length, found.max_position_embeddings
    if length > longest:
        raise ConfigError(
            f"sequence_length: {length} is more than the {longest} positions of {folder}; "
            "shorten the rows, or set model.max_positions and a larger model.rope_theta"
        )
    window = getattr(found, "sliding_window", None)
    if window is not None and length > window:
        raise ConfigError(
            f"sequence_length: {length} is more than the sliding window {window} of {folder}, "
            "and rows attend to all of their document; shorten the rows"
        )
    problem = config.parallel.problem_of_sharing(
        found.num_attention_heads, f"attention heads of {folder}", length, "sequence_length"
    )
    if problem:
        raise ConfigError(problem)
    if shape.start_from:
        check_tokenizer(folder, tokenizer, key)


def check_tokenizer(folder: Path, tokenizer: Path, key: str) -> None:
    """Refuse weights whose token ids mean something else than the store's.

    Raises:
        ConfigError: the tokenizers differ, or the weights come without theirs.
    """
    theirs = folder / "tokenizer.json"
    if not theirs.is_file():
        raise ConfigError(
            f"{key}: {folder}: no tokenizer.json, so nothing says what its token ids mean; put "
            "the one it was trained with beside it"
        )
    if _meaning(theirs, key) != _meaning(tokenizer / "tokenizer.json", "input tokenizer"):
        raise ConfigError(
            f"{key}: {folder} was trained with another tokenizer than input tokenizer "
            f"{tokenizer}; make the tokens with {theirs}, or start from other weights"
        )


def _too_many_tokens(where: str, rows: int, vocabulary: int) -> str:
    return (
        f"{where}: {rows} embedding rows, but the token store's vocabulary is {vocabulary}; "
        "take a model with as many rows, or tokenise with a smaller tokenizer"
    )


def _meaning(path: Path, key: str) -> list[Any]:
    raw = _read_json(path, key)
    added = sorted((t["id"], t["content"]) for t in raw.get("added_tokens", []))
    return [*(raw.get(part) for part in _MEANING), added]


def _read_json(path: Path, key: str) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{key}: {path}: cannot be read: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{key}: {path}: expected an object, got {type(raw).__name__}")
    return raw
