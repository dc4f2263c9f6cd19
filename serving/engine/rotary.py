"""Rotary angles that follow the length of a text: dynamic NTK scaling.

Beyond the context that a model was trained on, the base of its angles grows with the length::

    base' = base * (factor * length / trained - (factor - 1)) ** (dim / (dim - 2))

(Peng et al. 2023, arXiv 2309.00071, on "Dynamic NTK" scaling). A key in the cache keeps the
angle it was given, so every token needs a length of its own that nothing later changes: a
prompt's tokens have the prompt's, a generated token the text's up to and with it, as in
transformers' ``generate``. The keys of a long prompt then hold for prompts of the same length
only, and ``root_for`` keeps those of others apart.
"""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from serving.engine.attention import active_lengths

_LENGTH_BITS = 32


def trained_context(config: Any) -> int | None:
    """The length from which on a model's angles follow the text's; None where they never do."""
    rope = getattr(config, "rope_parameters", None) or {}
    return config.max_position_embeddings if rope.get("rope_type") == "dynamic" else None


def root_for(root: int, length: int, trained: int | None) -> int:
    """What the cache blocks of a prompt begin from.

    Args:
        root: its adapter's, 0 without one.
        length: the prompt's tokens.
        trained: see ``trained_context``.

    Returns:
        ``root``; where angles follow the length, a number below 0 of this root and length alone.
    """
    if trained is None or length <= trained:
        return root
    return -(root << _LENGTH_BITS | length)


def follow_lengths(model: PreTrainedModel) -> None:
    """Give a model with dynamic NTK scaling angles that depend on each token's own text."""
    body: Any = model.base_model
    if trained_context(model.config) is not None and not isinstance(body.rotary_emb, DynamicRotary):
        body.rotary_emb = DynamicRotary(body.rotary_emb, model.config)


def follows_lengths(model: PreTrainedModel) -> bool:
    """Whether ``follow_lengths`` computes the angles as the model itself, in its context."""
    rotary: Any = getattr(model.base_model, "rotary_emb", None)
    if not isinstance(rotary, nn.Module) or "alpha" in model.config.rope_parameters:
        return False
    positions = torch.arange(min(8, model.config.max_position_embeddings))[None]
    if any(buffer.is_meta for buffer in rotary.buffers()):
        return True  # a model without weights, of which only the sizes are asked for
    try:
        ours = DynamicRotary(rotary, model.config)
        wanted = rotary(torch.zeros(1), positions)
        found = ours(torch.zeros(1), positions)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError):
        return False
    return all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))


class DynamicRotary(nn.Module):
    """Angles of dynamic NTK scaling, of every token by its own length."""

    inv_freq: torch.Tensor

    def __init__(self, own: Any, config: Any) -> None:
        """``own``: transformers' module for the same."""
        super().__init__()
        rope = config.rope_parameters
        plain = own.original_inv_freq.float()
        dim = 2 * len(plain)
        if dim < 4:
            raise ValueError(f"dynamic NTK scaling needs 4 rotary dimensions, there are {dim}")
        self.register_buffer("inv_freq", plain.clone(), persistent=False)
        self._trained: int = config.max_position_embeddings
        self._base, self._factor = float(rope["rope_theta"]), float(rope["factor"])
        self._grows = dim / (dim - 2)

    @torch.no_grad()
    def forward(
        self, x: torch.Tensor, position_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines of positions (1, rows), (1, rows, dim), in the type of ``x``."""
        lengths = active_lengths()
        lengths = position_ids + 1 if lengths is None else lengths
        angles = position_ids[..., None].float() * self._frequencies(lengths)
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)

    def _frequencies(self, lengths: torch.Tensor) -> torch.Tensor:
        """(1, rows, dim / 2) of texts so long, (1, rows)."""
        plain = self.inv_freq
        over = lengths.clamp(min=self._trained).double() / self._trained
        base = self._base * (self._factor * over - (self._factor - 1)) ** self._grows
        powers = torch.arange(len(plain), device=plain.device, dtype=torch.double) / len(plain)
        grown = (base[..., None] ** -powers).float()
        return torch.where(lengths[..., None] > self._trained, grown, plain)
