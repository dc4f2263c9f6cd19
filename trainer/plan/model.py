"""Shapes of dense decoder models: presets, Hugging Face configs, parameters, FLOPs."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clusters.config import ConfigError, nearest
from trainer.models.presets import ALIASES, SHAPES
from trainer.plan import families

_UNPLANNED = ("theta", "positions", "eps")
"""Of a preset: they change neither memory nor time."""


@dataclass(frozen=True)
class Shape:
    """A Llama-type decoder: RMSNorm, rotary positions, attention, gated MLP."""

    name: str
    vocab: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    head_width: int = 0
    """Width of one head; 0 means ``hidden / heads``."""
    tied: bool = False
    """Input and output embedding are one matrix."""
    qkv_bias: bool = False
    output_bias: bool = False
    """Attention's output projection has a bias."""
    mlp_bias: bool = False
    """All three products of the MLP have a bias."""
    head_norm: bool = False
    """Queries and keys are normalised per head (Qwen3)."""
    norm_width: int = 0
    """Width of all norms of a layer outside its heads; 0 means two of ``hidden``."""

    @property
    def q_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self._head

    @property
    def kv_width(self) -> int:
        """Width of all key heads together; as much again for the values."""
        return self.kv_heads * self._head

    @property
    def _head(self) -> int:
        return self.head_width or self.hidden // self.heads

    @property
    def attention_parameters(self) -> int:
        """Parameters of one layer's attention."""
        qkv = self.q_width + 2 * self.kv_width
        biases = qkv * self.qkv_bias + self.hidden * self.output_bias
        norms = 2 * self._head * self.head_norm
        return self.hidden * (qkv + self.q_width) + biases + norms

    @property
    def layer_parameters(self) -> int:
        """Parameters of one layer, with its norms."""
        norms = self.norm_width or 2 * self.hidden
        biases = (2 * self.mlp + self.hidden) * self.mlp_bias
        return self.attention_parameters + 3 * self.hidden * self.mlp + biases + norms

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embeddings, input and output."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.embedding_parameters + self.layers * self.layer_parameters + self.hidden

    @property
    def multiplying_parameters(self) -> int:
        """Parameters that multiply: the input embedding is a look-up."""
        return self.parameters - (0 if self.tied else self.vocab * self.hidden)

    def flops_per_token(self, sequence: int) -> float:
        """Model FLOPs of one token, forward and backward, without any recompute.

        6 per parameter that multiplies, and causal attention's two products,
        6 * layers * q_width * sequence: the mean position sees half the sequence (Kaplan et
        al., arXiv:2001.08361; Chowdhery et al., arXiv:2204.02311, appendix B, counts the
        whole square, twice this).
        """
        return 6.0 * self.multiplying_parameters + 6.0 * self.layers * self.q_width * sequence


def find_shape(model: str) -> Shape:
    """The shape named ``model``: a preset, a ``config.json``, or a folder that holds one.

    Raises:
        ConfigError: neither, or the config is no dense Llama-type decoder.
    """
    name = ALIASES.get(model.lower(), model.lower())
    if name in SHAPES:
        return Shape(name=name, **{k: v for k, v in SHAPES[name].items() if k not in _UNPLANNED})
    path = Path(model)
    if path.is_dir():
        path = path / "config.json"
    if path.is_file():
        return read_config(path)
    known = sorted([*SHAPES, *ALIASES])
    raise ConfigError(
        f"--model {model!r}: no such preset or config.json{nearest(model, known)}; "
        f"presets: {', '.join(known)}"
    )


def read_config(path: Path) -> Shape:
    """The shape a Hugging Face ``config.json`` describes."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path}: not JSON: {error}") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: expected an object, got {type(config).__name__}")
    return _from_config(config, path)


def shape_of_config(config: dict[str, Any], name: str) -> Shape:
    """The shape that the values of a Hugging Face config describe.

    Raises:
        ConfigError: they describe no dense Llama-type decoder.
    """
    return _from_config(config, Path(name))


def _from_config(config: dict[str, Any], path: Path) -> Shape:
    def size(key: str, default: int | None = None) -> int:
        value = config.get(key)
        value = default if value is None else value
        if value is None:
            raise ConfigError(
                f"{path}: {key}: not there (model_type {kind!r}); only dense decoders of the Llama "
                "kind are planned: gated MLP, rotary positions, one config for all layers"
            )
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise ConfigError(f"{path}: {key}: expected a whole number above 0, got {value!r}")
        return value

    kind = str(config.get("model_type") or "llama")
    for key in ("num_experts", "num_local_experts", "n_routed_experts"):
        if config.get(key):
            raise ConfigError(f"{path}: {key}: mixtures of experts are not planned, only dense")
    heads, vocab = size("num_attention_heads"), size("vocab_size")
    kv_heads = size("num_key_value_heads", heads)
    head_width = size("head_dim") if config.get("head_dim") is not None else 0
    hidden = size("hidden_size")
    families.check(kind, path)
    _check_heads(path, hidden, heads, kv_heads, head_width)
    bias = bool(config.get("attention_bias", config.get("bias", False)))
    everywhere = kind == "ernie4_5" and bool(config.get("use_bias", False))
    shape = Shape(
        name=path.parent.name if path.name == "config.json" else path.stem,
        vocab=vocab,
        hidden=hidden,
        layers=size("num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        mlp=size("intermediate_size"),
        head_width=head_width,
        tied=bool(config.get("tie_word_embeddings", kind in families.TIED)),
        qkv_bias=bias or everywhere or kind == "qwen2",
        output_bias=everywhere or (bias and kind not in families.BIAS_OF_QKV),
        mlp_bias=everywhere or (kind in families.MLP_BIAS and bool(config.get("mlp_bias", False))),
        head_norm=kind in families.HEAD_NORMS,
    )
    norms = families.norm_width(kind, hidden, shape.q_width + shape.kv_width)
    return replace(shape, norm_width=norms)


def _check_heads(path: Path, hidden: int, heads: int, kv_heads: int, head_width: int) -> None:
    if heads % kv_heads:
        raise ConfigError(
            f"{path}: num_key_value_heads: {kv_heads} does not divide num_attention_heads {heads}"
        )
    if not head_width and hidden % heads:
        raise ConfigError(
            f"{path}: num_attention_heads: {heads} does not divide hidden_size {hidden}; "
            "or give head_dim"
        )


def shape_of_size(name: str, parameters: float, layers: int, hidden: int) -> Shape:
    """A shape of which only the size is known, as in published tables.

    The vocabulary is a preset's of that name, else 50,000; the MLP takes what is left.
    """
    known = SHAPES.get(ALIASES.get(name.lower(), name.lower()))
    vocab = known["vocab"] if known else 50_000
    heads = max(1, hidden // 128)
    bare = Shape(name, vocab, hidden, layers, heads, heads, mlp=0, tied=parameters < 1e9)
    left = parameters - bare.parameters
    return replace(bare, mlp=max(hidden, round(left / (3 * hidden * layers))))
