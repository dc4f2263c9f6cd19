"""Opens a model directory: the model, and the engine over it."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.engine import Engine
from serving.device import device_of
from serving.directory import ModelError, model_digest
from serving.folder import ModelFolder
from serving.pages import ask_for_large_pages
from serving.quant.open import install_packed
from serving.settings import EngineSettings
from serving.support import plain_logits, prove
from serving.weights import converted, empty_model, fill, needs_conversion

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from transformers import PreTrainedModel

    from serving.engine.runner import ModelRunner, RunnerConfig
    from serving.parallel.group import Group
    from serving.quant.copies import CopyBits

DEFAULT_CONTEXT = 2048
"""Tokens per sequence where the caller names no limit and the model allows more."""
BLOCK_SIZE = 32
"""Tokens per cache block."""
CHUNK = 256
"""Prompt tokens per step where results are reproducible: also the grain of shared prefixes."""
FAST_CHUNK = 512
"""Prompt tokens per step where they need not be."""
TILE_CHUNK = 1024
"""The same where products run on matrix tiles: weights are turned to tiles once per step."""
LONG_CONTEXT = 1 << 15
"""Tokens from which on fewer of a prompt go into a step: its mask is chunk times context."""
GPU_CHUNK = 2048
"""The same on a GPU, which fewer do not fill."""


def load_engine(
    model_dir: Path | str, settings: EngineSettings | None = None, **changes: Any
) -> Engine:
    """An engine over an HF-layout directory, one that ``serving.quantize`` made, or one of the
    hub with GPTQ or AWQ weights.

    Where torch has made no tensor yet, it will take memory in large pages; see ``serving.pages``.

    Args:
        model_dir: folder with config.json, safetensors and tokenizer.
        settings: how the model is run.
        changes: single fields of ``settings``, by name.

    Raises:
        ModelError: the directory is missing, half written, damaged or unsupported, cannot be
            cut into so many parts, or ``cache_tokens`` holds no whole sequence.
        WorkerLost: a process of ``tensor_parallel`` did not start.
        AdapterError: an adapter is damaged, unsupported or made for another model.
        EngineUnavailable: no such engine, not installed, or without what was asked for.
        ConfigError: a setting that means nothing.
    """
    ask_for_large_pages()
    settings = replace(settings or EngineSettings(), **changes)
    folder = ModelFolder(Path(model_dir))
    if settings.engine == "paged":
        return _open_paged(folder, settings)
    from serving.engines.choose import open_other

    return open_other(folder, settings)


def _open_paged(folder: ModelFolder, settings: EngineSettings) -> Engine:
    """Our own engine; see ``load_engine``."""
    import torch

    from serving.engine.engine import PagedEngine
    from serving.engine.guide import Guides
    from serving.engine.plan import Limits
    from serving.lora.files import read_adapter

    threads, ranks = settings.threads, settings.tensor_parallel
    if threads is None and ranks > 1:
        threads = max(1, torch.get_num_threads() // ranks)
    if threads is not None:
        torch.set_num_threads(threads)
    packed = folder.packed
    digest = model_digest(folder.path)
    rows = folder.dense_rows if settings.dense_rows is None else settings.dense_rows
    run, device = _runner_config(folder, settings), device_of(settings)
    loras = {name: read_adapter(Path(place)) for name, place in settings.adapters.items()}
    if ranks > 1:
        from serving.parallel.runner import open_parallel

        runner = open_parallel(folder, run, rows, threads or 1)
    else:
        runner = open_runner(folder, run, rows, device=device)
    chunk = CHUNK if settings.reproducible else _fast_chunk(settings, device, packed)
    try:
        return PagedEngine(
            runner,
            Limits(settings.slots, chunk, fixed_chunks=settings.reproducible),
            model_digest=digest,
            guides=Guides(partial(_tokenizer, folder.path), runner.vocab_size),
            threads=threads,
            updatable=not packed,
            adapters=loras,
        )
    except BaseException:
        runner.close()
        raise


def _fast_chunk(settings: EngineSettings, device: "torch.device", packed: bool) -> int:
    """Prompt tokens per step where only speed counts."""
    from serving.native.linear import has_tiles

    if device.type == "cuda":
        return GPU_CHUNK
    short = (settings.max_context or 0) < LONG_CONTEXT
    tiles = settings.compiled and not packed and short and has_tiles()
    return TILE_CHUNK if tiles else FAST_CHUNK


def _runner_config(folder: ModelFolder, settings: EngineSettings) -> "RunnerConfig":
    """Sizes of the cache and of a step."""
    from serving.engine.runner import RunnerConfig

    context, tokens = sizes_of(folder, settings)
    return RunnerConfig(
        max_context=context,
        num_blocks=-(-tokens // BLOCK_SIZE) + 1,
        block_size=BLOCK_SIZE,
        width=settings.slots if settings.reproducible else 0,
        int8_cache=settings.int8_cache,
        ranks=settings.tensor_parallel,
        copy_bits=settings.copy_bits,
        compiled=settings.compiled,
        slots=settings.slots,
        cuda_graphs=settings.cuda_graphs,
    )


def open_runner(
    folder: ModelFolder,
    config: "RunnerConfig",
    dense_rows: int | None,
    *,
    device: "torch.device | None" = None,
    group: "Group | None" = None,
    make: "Callable[[PreTrainedModel, RunnerConfig], ModelRunner] | None" = None,
) -> "ModelRunner":
    """The model of a directory over its cache, proved where the family is not a known one.

    Args:
        folder: model directory.
        config: how it is run.
        dense_rows: see ``EngineSettings``; None or 0 keeps no copy.
        device: where it runs; by default on the CPU.
        group: where the model is cut over ranks, this one's side of them.
        make: what runs it; by default ``ModelRunner``.

    Raises:
        ModelError: see ``load_engine``.
    """
    from serving.engine.decoder import known_family
    from serving.engine.runner import ModelRunner

    model = build_model(folder, group, device)
    if dense_rows and (device is None or device.type == "cpu"):
        _keep_dense(model, dense_rows, config.copy_bits)
    expected = None if known_family(model) else plain_logits(model, folder.path)
    try:
        runner = (make or ModelRunner)(model, config)
    except RuntimeError as error:
        if "allocate" not in str(error):
            raise
        raise ModelError(
            f"{folder.path}: no memory for a cache of {config.num_blocks * config.block_size} "
            f"tokens: {str(error).splitlines()[0]}; give fewer cache_tokens, a smaller max_context "
            "or int8_cache"
        ) from error
    if expected is not None:
        prove(model, runner, expected, folder.path)
    runner.capture()
    return runner


def _keep_dense(model: "PreTrainedModel", rows: int, bits: "CopyBits") -> None:
    from serving.quant.linear import Int4Linear

    for module in model.modules():
        if isinstance(module, Int4Linear):
            module.keep_dense(rows, bits)


def sizes_of(folder: ModelFolder, settings: EngineSettings) -> tuple[int, int]:
    """Tokens of one sequence, and of all whose keys and values are kept.

    Raises:
        ModelError: more is wanted than the model allows, or the cache holds no whole sequence.
    """
    context = context_of(folder, settings.max_context)
    tokens = settings.cache_tokens
    if tokens is None:
        tokens = settings.slots * context
    if tokens < context:
        raise ModelError(
            f"{folder.path}: cache_tokens is {tokens}, one sequence may have {context}; "
            "give more, or a smaller max_context"
        )
    return context, tokens


def context_of(folder: ModelFolder, wanted: int | None) -> int:
    """Tokens of one sequence: what is wanted, or the model's limit up to ``DEFAULT_CONTEXT``.

    Raises:
        ModelError: more is wanted than the model allows.
    """
    # The model's config, not the file: GPT-2's file spells it n_positions.
    limit = getattr(folder.config, "max_position_embeddings", None) or DEFAULT_CONTEXT
    limit = max(limit, _stretched(folder.config, limit))
    context = wanted or min(limit, DEFAULT_CONTEXT)
    if context > limit:
        raise ModelError(f"{folder.path}: max_context is {context}, the model allows {limit}")
    return context


def _stretched(config: Any, limit: int) -> int:
    """Tokens that rotary scaling makes of the context a model was trained on.

    ``linear`` and ``dynamic`` scaling stretch ``max_position_embeddings`` itself, ``yarn`` the
    ``original_max_position_embeddings`` it names; what others say is in the former already.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") not in ("linear", "dynamic", "yarn"):
        return limit
    return int((rope.get("original_max_position_embeddings") or limit) * (rope.get("factor") or 1))


def _tokenizer(path: Path) -> tuple[Any, list[int]]:
    """The directory's tokenizer and the ids that end an answer."""
    from serving.tokenizer import ChatTokenizer

    tokenizer = ChatTokenizer.load(path)
    return tokenizer.plain, list(tokenizer.stop_ids)


def load_model(path: Path) -> "PreTrainedModel":
    """The model of a directory on the CPU; see ``build_model``."""
    return build_model(ModelFolder(path))


def build_model(
    folder: ModelFolder, group: "Group | None" = None, device: "torch.device | None" = None
) -> "PreTrainedModel":
    """The model on a device (the CPU), every weight from the files and none made up.

    With a ``group``, this rank's part of it.

    Raises:
        ModelError: weights are missing, unknown, damaged or of another shape, or the
            architecture is none this engine runs.
    """
    model: Any = empty_model(folder)
    packed: list[Any] = list(install_packed(model, folder))
    if group is None and needs_conversion(model, folder):
        model = converted(folder)
    elif group is None:
        fill(model, folder)
    else:
        from serving.parallel.shard import Cuts, shard

        kinds = {type(layer) for layer in packed}
        shard(model, group, folder.path)
        fill(model, folder, Cuts(model, group).part)
        packed = [m for m in model.modules() if isinstance(m, tuple(kinds))]
    if device is not None:
        model.to(device)
    for layer in packed:
        layer.prepare()
    return model.eval()
