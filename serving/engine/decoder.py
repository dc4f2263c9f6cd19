"""The part of a transformers model between token ids and last hidden states."""

from typing import Any

import torch
from transformers import PreTrainedModel

from serving.engine.attention import active_pages
from serving.engine.lean import LeanLayer, rotary
from serving.engine.pieces import CompiledPieces, Pieces
from serving.gpu.pieces import TritonPieces
from serving.gpu.ready import runs_kernels
from serving.lora.route import active_routes
from serving.native.kernels import Kernels
from serving.native.layers import native_layers
from serving.native.linear import use_tiles

_PLAIN = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Families whose decoder is embedding, layers and a norm, with nothing in between."""


class Decoder:
    """A model's own forward, for families of any make."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._body: Any = model.base_model
        config: Any = model.config
        self._cap: float | None = getattr(config, "final_logit_softcapping", None)
        self._divide: float = getattr(config, "logits_scaling", None) or 1.0
        self._times: float = getattr(config, "logit_scale", None) or 1.0

    def __call__(
        self, ids: torch.Tensor, positions: torch.Tensor, wanted: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Hidden states after the last norm of the ``wanted`` tokens, or all; (tokens, hidden).

        Args:
            ids: (1, tokens).
            positions: (1, tokens).
            wanted: which tokens, int64.
        """
        hidden = self._body(input_ids=ids, position_ids=positions, use_cache=False)[0][0]
        return hidden if wanted is None else hidden[wanted]

    def scaled(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits as the family scales them (Granite, Cohere) or caps them (Gemma 2), in float32."""
        if self._divide != 1.0 or self._times != 1.0:
            logits = logits.float() * (self._times / self._divide)
        return logits if self._cap is None else torch.tanh(logits.float() / self._cap) * self._cap


class LeanDecoder(Decoder):
    """The decoder's loop over lean layers, without its wrappers."""

    def __init__(self, model: PreTrainedModel, compiled: Kernels | None) -> None:
        super().__init__(model)
        self._pieces = _pieces(self._body.embed_tokens.weight.device, compiled)
        self._layers = [LeanLayer(layer, self._pieces) for layer in self._body.layers]
        parts = [layer.parts() for layer in self._layers] if compiled is not None else []
        self._native = native_layers(parts)

    def __call__(
        self, ids: torch.Tensor, positions: torch.Tensor, wanted: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See ``Decoder``. Behind the last attention only ``wanted`` tokens are computed."""
        body = self._body
        hidden = body.embed_tokens(ids)
        angles = rotary(*body.rotary_emb(hidden, positions))
        hidden = hidden[0]
        added = self._at_once(hidden, *angles)
        if added is not None:
            if wanted is not None:
                hidden, added = hidden[wanted], added[wanted]
            return self._pieces.add_norm(hidden, added, body.norm)
        for layer in self._layers[:-1]:
            added = layer(hidden, added, *angles)
        seen = self._layers[-1].attend(hidden, added, *angles)
        if wanted is not None:
            hidden, seen = hidden[wanted], seen[wanted]
        if len(hidden):
            added = self._layers[-1].transform(hidden, seen)
            hidden = self._pieces.add_norm(hidden, added, body.norm)
        return hidden

    def _at_once(
        self, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> torch.Tensor | None:
        """What the last layer adds, where one call computes all layers of a step that decodes."""
        if self._native is None or active_routes() is not None:
            return None
        pages = active_pages()
        if pages is None or not self._native.takes(hidden, cos, pages.cache):
            return None
        return self._native(hidden, cos, sin, pages)


def _pieces(device: torch.device, compiled: Kernels | None) -> Pieces:
    """What computes between the products, by where it runs."""
    if runs_kernels(device):
        return TritonPieces()
    return Pieces() if compiled is None else CompiledPieces(compiled)


def known_family(model: PreTrainedModel) -> bool:
    """Whether the family is one whose layers this engine has been made for."""
    return model.config.model_type in _PLAIN


def decoder_of(model: PreTrainedModel, compiled: Kernels | None = None) -> Decoder:
    """The cheapest way to run this model's decoder, with kernels where there are any."""
    if compiled is not None:
        use_tiles(model)
    return LeanDecoder(model, compiled) if known_family(model) else Decoder(model)
