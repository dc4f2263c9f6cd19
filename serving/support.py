"""Which models the engine runs: decoders in which every layer sees all tokens before it."""

from typing import TYPE_CHECKING, Any

from serving.directory import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from serving.engine.runner import ModelRunner

_PROOF_TOKENS = 24
_TOLERANCE = {"torch.float32": 1e-3}
_COARSE = 0.05


def refuse_unsupported(config: Any, where: object) -> None:
    """Say what of an architecture the paged cache or the batching cannot hold.

    Raises:
        ModelError: sliding-window, latent, recurrent or capped attention, rotary angles that
            change with the longest request, or no decoder at all.
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
            rope in ("dynamic", "longrope"),
            f"rope_type {rope!r} (its angles follow the longest sequence of a forward, so keys in "
            "the cache would no longer fit; linear, yarn and llama3 are fixed)",
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


def prove(model: "PreTrainedModel", runner: "ModelRunner", expected: Any, where: object) -> None:
    """Compare the paged forward of a few tokens with transformers' own.

    Families differ in what they put around attention; one that this engine would run wrongly
    is found before it answers anybody.

    Raises:
        ModelError: the two differ.
    """
    import torch

    found = runner.hidden(proof_tokens(runner.vocab_size))
    gap = (found - expected).float().norm() / expected.float().norm()
    if torch.isfinite(gap) and gap > _TOLERANCE.get(str(found.dtype), _COARSE):
        raise ModelError(
            f"{where}: {model.config.model_type}: the paged forward differs from transformers' "
            f"by {gap:.1%}: this family is not supported"
        )


def proof_tokens(vocab_size: int) -> list[int]:
    """Some token ids, spread over the vocabulary."""
    return [(7919 * i + 13) % vocab_size for i in range(_PROOF_TOKENS)]


def plain_hidden(model: "PreTrainedModel") -> Any:
    """Last hidden states of the proof's tokens by transformers alone, (tokens, hidden)."""
    import torch

    embeddings: Any = model.get_input_embeddings()
    vocab_size: int = embeddings.weight.shape[0]
    ids = torch.tensor([proof_tokens(vocab_size)], device=embeddings.weight.device)
    with torch.inference_mode():
        return model.base_model(input_ids=ids, use_cache=False)[0][0]
