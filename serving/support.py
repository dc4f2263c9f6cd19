"""Which models the engine runs: decoders in which every layer sees all tokens before it."""

from typing import TYPE_CHECKING, Any

from serving.directory import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from serving.engine.runner import ModelRunner

_PROOF_TOKENS = 24
_FINE, _COARSE, _INT8_CACHE = 1e-3, 0.05, 0.25
"""Largest relative difference of logits: in fp32, in fewer bits, and over an 8-bit cache, which
some models bear badly (outliers in their keys); a family run wrongly is off by more."""


def refuse_unsupported(config: Any, where: object) -> None:
    """Say what of an architecture the paged cache or the batching cannot hold.

    Raises:
        ModelError: sliding-window, latent, recurrent or capped attention, rotary angles that
            change beyond a length, or no decoder at all.
    """
    layers = set(getattr(config, "layer_types", None) or [])
    window = getattr(config, "sliding_window", None)
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    recurrent = sorted(layers - {"full_attention", "sliding_attention", "chunked_attention"})
    for found, what in (
        (getattr(config, "is_encoder_decoder", False), "an encoder-decoder"),
        (recurrent, f"layers of type {', '.join(recurrent)}"),
        (layers - {"full_attention", *recurrent}, "sliding-window attention"),
        (window and not layers, "sliding-window attention"),
        (getattr(config, "kv_lora_rank", None), "latent attention (kv_lora_rank)"),
        (getattr(config, "attn_logit_softcapping", None), "capped attention scores"),
        (
            rope == "longrope",
            "rope_type 'longrope' (its angles change all at once beyond a length, so keys in the "
            "cache would no longer fit; linear, dynamic, yarn and llama3 are supported)",
        ),
        (not hasattr(config, "num_attention_heads"), "a model without attention"),
    ):
        if found:
            raise ModelError(
                f"{where}: {config.model_type}: {what} is not supported; this engine runs "
                "decoders with full attention (Llama, Mistral, Qwen2, Qwen3, Gemma and the like)"
            )


def refuse_foreign_attention(model: "PreTrainedModel", where: object) -> None:
    """Refuse a model whose layers do not let attention be replaced.

    Raises:
        ModelError: see above.
    """
    if not getattr(model, "_supports_attention_backend", False):
        raise ModelError(
            f"{where}: {model.config.model_type}: transformers' own attention of this model "
            "cannot be replaced by the paged one; use another engine for it"
        )


def refuse_foreign_rotary(model: "PreTrainedModel", where: object) -> None:
    """Refuse dynamic NTK scaling of a model whose angles are not computed as Llama's.

    Raises:
        ModelError: see above.
    """
    from serving.engine.rotary import follows_lengths, trained_context

    if trained_context(model.config) is not None and not follows_lengths(model):
        raise ModelError(
            f"{where}: {model.config.model_type}: rope_type 'dynamic' is not supported for this "
            "family: its angles are not Llama's; linear, yarn and llama3 are"
        )


def prove(model: "PreTrainedModel", runner: "ModelRunner", expected: Any, where: object) -> None:
    """Compare the paged forward of two short texts, side by side, with transformers' own.

    Families differ in what they put around attention and after it; one that this engine would
    run wrongly is found before it answers anybody: one that keeps its own attention lets the
    second text see the first, one that attends twice in a layer overwrites its own cache.

    Args:
        model: the model.
        runner: runs it.
        expected: what ``plain_logits`` gave, from before ``runner`` took the model over.
        where: what an error names.

    Raises:
        ModelError: the two differ, or the paged forward fails.
    """
    import torch

    try:
        room = runner.config.num_blocks - 1
        found = runner.logits(proof_texts(runner.vocab_size)[:room])
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise _no_family(model, where, f"fails: {_line(error)}") from error
    expected = expected[: len(found)]
    gap = (found - expected).norm() / expected.norm()
    most = _FINE if model.dtype == torch.float32 else _COARSE
    if torch.isfinite(gap) and gap > (_INT8_CACHE if runner.config.int8_cache else most):
        raise _no_family(model, where, f"differs from transformers' by {gap:.1%}")


def proof_texts(vocab_size: int) -> list[list[int]]:
    """Two texts of some token ids, spread over the vocabulary."""
    ids = [(7919 * i + 13) % vocab_size for i in range(_PROOF_TOKENS)]
    return [ids, ids[: _PROOF_TOKENS // 3 : -1]]


def plain_logits(model: "PreTrainedModel", where: object) -> Any:
    """Logits of the proof's texts by transformers alone, (tokens, vocabulary).

    Raises:
        ModelError: transformers itself cannot run the model that config.json describes.
    """
    import torch

    embeddings: Any = model.get_input_embeddings()
    texts = proof_texts(embeddings.weight.shape[0])
    try:
        with torch.inference_mode():
            rows = [
                model(torch.tensor([ids], device=embeddings.weight.device), use_cache=False)
                for ids in texts
            ]
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ModelError(
            f"{where}: {model.config.model_type}: transformers cannot run what config.json "
            f"describes: {_line(error)}"
        ) from error
    return torch.cat([row.logits[0].float() for row in rows])


def _no_family(model: "PreTrainedModel", where: object, reason: str) -> ModelError:
    return ModelError(
        f"{where}: {model.config.model_type}: the paged forward {reason}: this family is not "
        "supported"
    )


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
