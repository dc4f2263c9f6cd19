"""Opens a model directory: the model, and the engine over it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.engine import Engine
from serving.directory import ModelError, model_digest, read_config, tensors_of, weight_files
from serving.quant.config import CONFIG_KEY

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from serving.quant.linear import Int4Linear

DEFAULT_CONTEXT = 2048
"""Positions per slot where the caller names none and the model allows more."""
_PARTS = ("embed_tokens", "rotary_emb", "layers", "norm")


def load_engine(
    model_dir: Path | str,
    *,
    slots: int = 16,
    max_context: int | None = None,
    threads: int | None = None,
) -> Engine:
    """An engine over an HF-layout directory, or over one that ``serving.quantize`` made.

    Args:
        model_dir: folder with config.json, safetensors and tokenizer.
        slots: sequences that run at once.
        max_context: tokens per sequence; by default the model's, at most 2048.
        threads: torch threads of this process; by default as torch has them.

    Raises:
        ModelError: the directory is missing, half written, damaged or unsupported.
    """
    import torch

    from serving.engine.engine import SlotEngine
    from serving.engine.runner import ModelRunner

    if threads is not None:
        torch.set_num_threads(threads)
    path = Path(model_dir)
    config = read_config(path)
    digest = model_digest(path)
    model = load_model(path)
    limit = config.get("max_position_embeddings") or DEFAULT_CONTEXT
    context = max_context or min(limit, DEFAULT_CONTEXT)
    if context > limit:
        raise ModelError(f"{path}: max_context is {context}, the model allows {limit}")
    runner = ModelRunner(model, slots, context)
    quantized = CONFIG_KEY in config
    return SlotEngine(runner, model_digest=digest, threads=threads, updatable=not quantized)


def load_model(path: Path) -> "PreTrainedModel":
    """The model on the CPU, every weight from the files and none made up.

    Raises:
        ModelError: weights are missing, unknown, damaged or of another shape, or the
            architecture is none this engine runs.
    """
    from transformers.initialization import no_init_weights

    config, dtype = model_config(path)
    from transformers import AutoModelForCausalLM

    try:
        with no_init_weights():
            model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    except (ValueError, ImportError) as error:
        raise ModelError(f"{path}: no causal language model: {error}") from error
    if not all(hasattr(getattr(model, "model", None), part) for part in _PARTS):
        raise ModelError(f"{path}: {config.model_type!r} is no Llama-shaped decoder")
    _refuse_unsupported(config, path)
    said = read_config(path).get(CONFIG_KEY)
    packed = _packed_layers(model, said, path) if said is not None else []
    _fill(model, path)
    for layer in packed:
        layer.prepare()
    return model.eval()


def _packed_layers(
    model: "PreTrainedModel", said: dict[str, Any], path: Path
) -> list["Int4Linear"]:
    from serving.quant.files import install

    return install(model, said, path)


def model_config(path: Path) -> tuple[Any, "torch.dtype"]:
    """The architecture that ``config.json`` describes, and the type of its weights.

    Raises:
        ModelError: transformers does not take it.
    """
    import torch
    from transformers import AutoConfig

    try:
        config: Any = AutoConfig.from_pretrained(
            str(path), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # validation errors of many kinds
        reason = " ".join(str(error).split())
        raise ModelError(f"{path / 'config.json'}: {reason}") from error
    dtype = getattr(config, "dtype", None) or torch.float32
    if isinstance(dtype, str):
        dtype = getattr(torch, dtype, dtype)
    if not isinstance(dtype, torch.dtype):
        raise ModelError(f"{path / 'config.json'}: dtype: {dtype!r} is no type of torch")
    return config, dtype


def _refuse_unsupported(config: Any, path: Path) -> None:
    """Attention that sees a window, and rotary angles that change with the longest request."""
    layers = set(getattr(config, "layer_types", None) or [])
    window = getattr(config, "sliding_window", None)
    if layers - {"full_attention"} or (window and not layers):
        raise ModelError(f"{path / 'config.json'}: sliding-window attention is not supported")
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope in ("dynamic", "longrope"):
        raise ModelError(f"{path / 'config.json'}: rope_type {rope!r} is not supported")


def _fill(model: "PreTrainedModel", path: Path) -> None:
    """Copy the weights of the files into the model and tie what is tied."""
    own = model.state_dict()
    seen = set()
    for name, tensor in (pair for file in weight_files(path) for pair in tensors_of(file)):
        if name not in own:
            raise ModelError(f"{path}: unknown weight {name!r} for this config.json")
        if own[name].shape != tensor.shape:
            raise ModelError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, "
                f"config.json says {tuple(own[name].shape)}"
            )
        own[name].copy_(tensor)
        seen.add(name)
    missing = own.keys() - seen - set(getattr(model, "all_tied_weights_keys", None) or {})
    if missing:
        some = ", ".join(sorted(missing)[:3])
        raise ModelError(f"{path}: {len(missing)} weights are missing, e.g. {some}")
    model.tie_weights()
