"""Opens a model directory: the model, and the engine over it."""

import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from contracts.engine import Engine
from serving.directory import ModelError, model_digest
from serving.quant.open import install_packed, is_packed, measured_dense_rows, model_tensors
from serving.support import plain_hidden, prove, refuse_foreign_attention, refuse_unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from transformers import PreTrainedModel

    from serving.engine.runner import ModelRunner, RunnerConfig
    from serving.parallel.group import Group

    Part = Callable[[str, torch.Tensor], torch.Tensor]

DEFAULT_CONTEXT = 2048
"""Tokens per sequence where the caller names no limit and the model allows more."""
BLOCK_SIZE = 32
"""Tokens per cache block."""
CHUNK = 256
"""Prompt tokens per step where results are reproducible: also the grain of shared prefixes."""
FAST_CHUNK = 512
"""Prompt tokens per step where they need not be."""
_BUILDING = threading.Lock()
"""transformers switches initialisation off for the whole process: one model at a time."""


def load_engine(
    model_dir: Path | str,
    *,
    slots: int = 16,
    max_context: int | None = None,
    threads: int | None = None,
    cache_tokens: int | None = None,
    reproducible: bool = True,
    int8_cache: bool = False,
    dense_rows: int | None = None,
    tensor_parallel: int = 1,
    adapters: Mapping[str, Path] = MappingProxyType({}),
    engine: str = "paged",
) -> Engine:
    """An engine over an HF-layout directory, one that ``serving.quantize`` made, or one of the
    hub with GPTQ or AWQ weights.

    Args:
        model_dir: folder with config.json, safetensors and tokenizer.
        slots: sequences that run at once.
        max_context: tokens per sequence; by default the model's, at most 2048.
        threads: torch threads of this process, and of each other one that ``tensor_parallel``
            starts; by default as torch has them, shared out over the processes.
        cache_tokens: tokens whose keys and values are kept, of all sequences together; by
            default all slots can be full. With fewer, sequences are preempted when it is.
        reproducible: a request's result does not depend on company, bit for bit. Without,
            steps compute no padding and prefixes are shared by block instead of by chunk.
        int8_cache: keep keys and values in 8 bits.
        dense_rows: keep a bf16 copy of 4-bit weights for steps of so many rows or more, where
            plain multiplication is faster (about 8 rows on a CPU with AMX, 24 without). By
            default as ``inkstone serve quantize`` measured, where it did; 0 keeps none.
        tensor_parallel: processes that share the model's layers; see docs/serving/parallel.md.
        adapters: folders of LoRA adapters to load, by name; see docs/serving/lora.md.
        engine: ``paged``, ``transformers``, ``vllm`` or ``lmdeploy``; see
            docs/serving/engines.md. Others than ``paged`` take the first four settings.

    Raises:
        ModelError: the directory is missing, half written, damaged or unsupported, cannot be
            cut into so many parts, or ``cache_tokens`` holds no whole sequence.
        WorkerLost: a process of ``tensor_parallel`` did not start.
        AdapterError: an adapter is damaged, unsupported or made for another model.
        EngineUnavailable: no such engine, not installed, or without what was asked for.
    """
    settings: dict[str, Any] = {
        "slots": slots,
        "max_context": max_context,
        "threads": threads,
        "cache_tokens": cache_tokens,
    }
    if engine != "paged":
        from serving.engines.choose import open_other

        own = {
            "reproducible": not reproducible,
            "int8_cache": int8_cache,
            "dense_rows": dense_rows is not None,
            "tensor_parallel": tensor_parallel > 1,
            "adapters": bool(adapters),
        }
        return open_other(engine, Path(model_dir), settings, [n for n, said in own.items() if said])
    return _open_paged(
        Path(model_dir),
        **settings,
        reproducible=reproducible,
        int8_cache=int8_cache,
        dense_rows=dense_rows,
        tensor_parallel=tensor_parallel,
        adapters=adapters,
    )


def _open_paged(
    path: Path,
    *,
    slots: int,
    max_context: int | None,
    threads: int | None,
    cache_tokens: int | None,
    reproducible: bool,
    int8_cache: bool,
    dense_rows: int | None,
    tensor_parallel: int,
    adapters: Mapping[str, Path],
) -> Engine:
    """Our own engine; see ``load_engine``."""
    import torch

    from serving.engine.engine import PagedEngine
    from serving.engine.guide import Guides
    from serving.engine.plan import Limits
    from serving.engine.runner import RunnerConfig
    from serving.lora.files import read_adapter

    if threads is None and tensor_parallel > 1:
        threads = max(1, torch.get_num_threads() // tensor_parallel)
    if threads is not None:
        torch.set_num_threads(threads)
    packed = is_packed(path)
    digest = model_digest(path)
    rows = measured_dense_rows(path) if dense_rows is None else dense_rows
    context = context_of(path, model_config(path)[0], max_context)
    tokens = slots * context if cache_tokens is None else cache_tokens
    if tokens < context:
        raise ModelError(
            f"{path}: cache_tokens is {tokens}, one sequence may have {context}; "
            "give more, or a smaller max_context"
        )
    loras = {name: read_adapter(Path(folder)) for name, folder in adapters.items()}
    run = RunnerConfig(
        max_context=context,
        num_blocks=-(-tokens // BLOCK_SIZE) + 1,
        block_size=BLOCK_SIZE,
        width=slots if reproducible else 0,
        int8_cache=int8_cache,
        ranks=tensor_parallel,
    )
    if tensor_parallel > 1:
        from serving.parallel.runner import open_parallel

        runner = open_parallel(path, run, rows, threads or 1)
    else:
        runner = open_runner(path, run, rows)
    chunk = CHUNK if reproducible else FAST_CHUNK
    try:
        return PagedEngine(
            runner,
            Limits(max_running=slots, chunk=chunk, fixed_chunks=reproducible),
            model_digest=digest,
            guides=Guides(partial(_tokenizer, path), runner.vocab_size),
            threads=threads,
            updatable=not packed,
            adapters=loras,
        )
    except BaseException:
        runner.close()
        raise


def open_runner(
    path: Path,
    config: "RunnerConfig",
    dense_rows: int | None,
    *,
    group: "Group | None" = None,
    make: "Callable[[PreTrainedModel, RunnerConfig], ModelRunner] | None" = None,
) -> "ModelRunner":
    """The model of a directory over its cache, proved where the family is not a known one.

    Args:
        path: model directory.
        config: how it is run.
        dense_rows: see ``load_engine``; None or 0 keeps no copy.
        group: where the model is cut over ranks, this one's side of them.
        make: what runs it; by default ``ModelRunner``.

    Raises:
        ModelError: see ``load_engine``.
    """
    from serving.engine.decoder import known_family
    from serving.engine.runner import ModelRunner

    model = load_model(path, group)
    if dense_rows:
        _keep_dense(model, dense_rows)
    expected = None if known_family(model) else plain_hidden(model)
    runner = (make or ModelRunner)(model, config)
    if expected is not None:
        prove(model, runner, expected, path)
    return runner


def _keep_dense(model: "PreTrainedModel", rows: int) -> None:
    from serving.quant.linear import Int4Linear

    for module in model.modules():
        if isinstance(module, Int4Linear):
            module.keep_dense(rows)


def context_of(path: Path, config: Any, wanted: int | None) -> int:
    """Tokens of one sequence: what is wanted, or the model's limit up to ``DEFAULT_CONTEXT``.

    Raises:
        ModelError: more is wanted than the model allows.
    """
    # The model's config, not the file: GPT-2's file spells it n_positions.
    limit = getattr(config, "max_position_embeddings", None) or DEFAULT_CONTEXT
    context = wanted or min(limit, DEFAULT_CONTEXT)
    if context > limit:
        raise ModelError(f"{path}: max_context is {context}, the model allows {limit}")
    return context


def _tokenizer(path: Path) -> tuple[Any, list[int]]:
    """The directory's tokenizer and the ids that end an answer."""
    from serving.tokenizer import ChatTokenizer

    tokenizer = ChatTokenizer.load(path)
    return tokenizer.plain, list(tokenizer.stop_ids)


def load_model(path: Path, group: "Group | None" = None) -> "PreTrainedModel":
    """The model on the CPU, every weight from the files and none made up.

    With a ``group``, this rank's part of it.

    Raises:
        ModelError: weights are missing, unknown, damaged or of another shape, or the
            architecture is none this engine runs.
    """
    import torch
    from transformers.initialization import no_init_weights

    config, dtype = model_config(path)
    from transformers import AutoModelForCausalLM

    if is_packed(path):
        dtype = torch.bfloat16  # what the packed layers multiply with
    try:
        with _BUILDING, no_init_weights():
            model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    except (ValueError, ImportError) as error:
        raise ModelError(f"{path}: no causal language model: {error}") from error
    refuse_unsupported(config, path / "config.json")
    refuse_foreign_attention(model, path / "config.json")
    packed: list[Any] = list(install_packed(model, path))
    if group is None:
        _fill(model, path)
    else:
        from serving.parallel.shard import Cuts, shard

        kinds = {type(layer) for layer in packed}
        shard(model, group, path)
        _fill(model, path, Cuts(model, group).part)
        packed = [m for m in model.modules() if isinstance(m, tuple(kinds))]
    for layer in packed:
        layer.prepare()
    return model.eval()


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


def _fill(model: "PreTrainedModel", path: Path, part: "Part | None" = None) -> None:
    """Copy the weights of the files, or the ``part`` of each, into the model; tie what is tied."""
    own = model.state_dict()
    seen = set()
    for name, tensor in model_tensors(path):
        if name not in own:
            raise ModelError(f"{path}: unknown weight {name!r} for this config.json")
        if part is not None:
            tensor = part(name, tensor)
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
