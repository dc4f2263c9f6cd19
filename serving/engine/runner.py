"""Runs transformers' decoder layers over the slot cache.

The same request must give the same bits whatever else runs, so shapes never depend on
company: a prompt is prefilled alone at its exact length, and every decode step runs
all slots, idle ones included.
"""

from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel

from contracts.engine import EngineError, Scored
from serving.engine.cache import CacheShape, DecodeView, PrefillView, SlotCache
from serving.engine.scoring import Pack

ATTENTION = "inkstone_slots"
_SPAN = 128
"""Decode attention covers the longest running sequence, rounded up to this many positions."""


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention over (batch, heads, tokens, head_dim); causal where there is no mask."""
    output = functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        is_causal=attention_mask is None and query.shape[2] > 1,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return output.transpose(1, 2), None


AttentionInterface.register(ATTENTION, _attention)


class ModelRunner:
    """A causal language model and its cache. Not thread-safe: one thread calls it."""

    def __init__(self, model: PreTrainedModel, num_slots: int, max_context: int) -> None:
        self._model = model.eval()
        model.set_attn_implementation(ATTENTION)
        config: Any = model.config
        self.num_slots = num_slots
        self.max_context = max_context
        self.vocab_size: int = config.vocab_size
        heads = config.num_attention_heads
        shape = CacheShape(
            num_layers=config.num_hidden_layers,
            num_slots=num_slots,
            num_kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            max_context=max_context,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        )
        embeddings: Any = model.get_input_embeddings()
        self._dtype: torch.dtype = embeddings.weight.dtype
        self._cache = SlotCache(shape, self._dtype)

    @torch.inference_mode()
    def prefill(self, slot: int, ids: list[int]) -> torch.Tensor:
        """Fill a slot with a prompt; logits of its last token, shape (1, vocabulary), float32."""
        hidden = self._forward([ids], [list(range(len(ids)))], None, PrefillView(self._cache, slot))
        return self._logits(hidden[:, -1])

    @torch.inference_mode()
    def decode(self, tokens: list[int], positions: list[int]) -> torch.Tensor:
        """One step of every slot; logits of shape (slots, vocabulary), float32.

        Args:
            tokens: last token of each slot; anything for an idle one.
            positions: its position; 0 for an idle slot.
        """
        at = torch.tensor(positions)
        span = min(self.max_context, (max(positions) // _SPAN + 1) * _SPAN)
        mask = torch.zeros(len(tokens), 1, 1, span, dtype=self._dtype)
        mask.masked_fill_(torch.arange(span) > at[:, None, None, None], -torch.inf)
        view = DecodeView(self._cache, at, span)
        hidden = self._forward([[t] for t in tokens], [[p] for p in positions], mask, view)
        return self._logits(hidden[:, -1])

    @torch.inference_mode()
    def score(self, pack: Pack) -> list[Scored]:
        """Log-probs of a pack's continuations, in order."""
        targets = pack.targets()
        if not targets:
            return [Scored((), True) for _ in pack.continuations]
        allowed = pack.mask()
        mask = None
        if allowed is not None:
            mask = torch.zeros(allowed.shape, dtype=self._dtype)
            mask = mask.masked_fill_(~allowed, -torch.inf)[None, None]
        hidden = self._forward([pack.ids()], [pack.positions()], mask, None)
        rows, tokens = (torch.tensor(column) for column in zip(*targets, strict=True))
        logprobs, greedy = self._token_logprobs(hidden[0, rows], tokens)
        scored = []
        for continuation in pack.continuations:
            size = len(continuation) - (0 if pack.context else 1)
            scored.append(Scored(tuple(logprobs[:size]), all(greedy[:size])))
            logprobs, greedy = logprobs[size:], greedy[size:]
        return scored

    @torch.inference_mode()
    def load_state(self, state: dict[str, Any]) -> None:
        """Copy new weights over the old ones, all or none.

        Raises:
            EngineError: a name is missing or unknown, or a shape differs.
        """
        own = self._model.state_dict()
        new = {name: torch.as_tensor(value) for name, value in state.items()}
        tied = getattr(self._model, "all_tied_weights_keys", None) or {}
        missing = own.keys() - new.keys() - set(tied)
        unknown = new.keys() - own.keys()
        if missing or unknown:
            raise EngineError(f"weights: missing {sorted(missing)}, unknown {sorted(unknown)}")
        for name, value in new.items():
            if value.shape != own[name].shape:
                raise EngineError(
                    f"weights: {name} has shape {tuple(value.shape)}, "
                    f"the model needs {tuple(own[name].shape)}"
                )
        for name, value in new.items():
            own[name].copy_(value)

    def _forward(
        self,
        ids: list[list[int]],
        positions: list[list[int]],
        mask: torch.Tensor | None,
        cache: PrefillView | DecodeView | None,
    ) -> torch.Tensor:
        """Last hidden states after the final norm, shape (rows, tokens, hidden)."""
        # The decoder's own loop without its wrappers, which cost more than a small model.
        decoder: Any = self._model.model
        hidden = decoder.embed_tokens(torch.tensor(ids))
        rotary = decoder.rotary_emb(hidden, torch.tensor(positions))
        for layer in decoder.layers:
            hidden = layer(
                hidden,
                attention_mask=mask,
                position_embeddings=rotary,
                past_key_values=cache,
            )
        return decoder.norm(hidden)

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self._model.get_output_embeddings()(hidden).float()

    def _token_logprobs(
        self, hidden: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[list[float], list[bool]]:
        logits = self._logits(hidden)
        best = logits.argmax(dim=-1)
        # logsumexp instead of log_softmax: one vocabulary-wide array less.
        chosen = logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(dim=-1)
        return chosen.tolist(), (best == tokens).tolist()
