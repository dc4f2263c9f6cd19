"""The part of a transformers model between token ids and last hidden states."""

from typing import Any

import torch
from transformers import PreTrainedModel

from serving.engine.lean import LeanLayer, rotary
from serving.engine.pieces import CompiledPieces, Pieces
from serving.gpu.pieces import TritonPieces
from serving.gpu.ready import runs_kernels
from serving.native.kernels import Kernels
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
        """Logits as the family scales them (Granite, Cohere) or caps them (Gemma 2)."""
        if self._divide != 1.0 or self._times != 1.0:
            logits = logits * (self._times / self._divide)
        return logits if self._cap is None else torch.tanh(logits / self._cap) * self._cap


class LeanDecoder(Decoder):
    """The decoder's loop over lean layers, without its wrappers."""

    def __init__(self, model: PreTrainedModel, compiled: Kernels | None) -> None:
        super().__init__(model)
        self._pieces = _pieces(self._body.embed_tokens.weight.device, compiled)
        self._layers = [LeanLayer(layer, self._pieces) for layer in self._body.layers]

    def __call__(
        self, ids: torch.Tensor, positions: torch.Tensor, wanted: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See ``Decoder``. Behind the last attention only ``wanted`` tokens are computed."""
        body = self._body
        hidden = body.embed_tokens(ids)
        angles = rotary(*body.rotary_emb(hidden, positions))
        hidden = hidden[0]
        added = None
        for layer in self._layers[:-1]:
            added = layer(hidden, added, *angles)
        seen = self._layers[-1].attend(hidden, added, *angles)
        if wanted is not None:
            hidden, seen = hidden[wanted], seen[wanted]
        if len(hidden):
            added = self._layers[-1].transform(hidden, seen)
            hidden = self._pieces.add_norm(hidden, added, body.norm)
        return hidden


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
