"""Which model is trained: a shape by its numbers, a preset, a config file, or old weights."""

from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from clusters.config import StageConfig, execution, nearest
from trainer.models.presets import ALIASES, SHAPES, preset_name

Family = Literal["llama", "qwen2", "qwen3", "mistral"]
FAMILIES: tuple[str, ...] = get_args(Family)
"""Architectures of transformers that the trainer's attention and loss are tested with."""

_FRESH: dict[str, Any] = {"rope_theta": 10000.0, "max_positions": 1024}
"""Of a shape that is given by its numbers."""


class ModelShape(StageConfig):
    """The model that is trained; its tokens are the token store's.

    Either a shape by its numbers, some of which a ``preset`` may give, or a Hugging Face
    ``config``, or the weights of ``start_from``; the last two may only be given another
    ``rope_theta`` and ``max_positions``.
    """

    preset: str | None = None
    """A named shape (internlm2-1.8b, llama3-8b, qwen3-0.6b, ...); fields beside it change it."""
    config: str | None = execution(None)
    """A Hugging Face ``config.json``, or a folder with one: train a new model like that."""
    start_from: str | None = execution(None)
    """A folder in Hugging Face's layout: train on from its weights."""
    family: Family = "llama"
    """Architecture: ``qwen2`` has biases at queries, keys and values, ``qwen3`` norms of heads."""
    hidden_size: int = Field(default=320, gt=0)
    """Width of the residual stream."""
    num_layers: int = Field(default=4, gt=0)
    """Decoder blocks."""
    num_heads: int = Field(default=5, gt=0)
    """Attention heads; without ``head_width`` they divide ``hidden_size``."""
    num_kv_heads: int = Field(default=5, gt=0)
    """Key/value heads; they divide ``num_heads``."""
    head_width: int | None = Field(default=None, gt=0)
    """Width of a head; by default ``hidden_size / num_heads``."""
    mlp_size: int = Field(default=1024, gt=0)
    """Width of the gated MLP."""
    attention_bias: bool = False
    """Biases at all four projections of attention (the first InternLM)."""
    vocab_size: int | None = Field(default=None, gt=0)
    """Rows of the embedding; by default the token store's vocabulary."""
    norm_eps: float = Field(default=1e-6, gt=0)
    """Added to the mean square in the norms."""
    tie_embeddings: bool = True
    """Use the input embedding as the output embedding too."""
    rope_theta: float | None = Field(default=None, gt=0)
    """Base of the rotary embedding's wavelengths, in positions. By default 10,000, or what the
    loaded model has; a larger base reaches further (arXiv:2309.16039)."""
    max_positions: int | None = Field(default=None, gt=0)
    """Longest sequence the model accepts, in tokens; by default 1,024, or the loaded model's."""

    @property
    def is_loaded(self) -> bool:
        """Whether files say what the model looks like, instead of the numbers here."""
        return bool(self.config or self.start_from)

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: Any) -> Any:
        """Put what a preset says where nothing else is said."""
        if not isinstance(given, dict) or given.get("config") or given.get("start_from"):
            return given
        filled = dict(_FRESH)
        if given.get("preset"):
            filled = preset_fields(str(given["preset"]))
        filled.update(given)
        return filled

    @model_validator(mode="after")
    def _one_source(self) -> "ModelShape":
        said = [key for key in ("preset", "config", "start_from") if getattr(self, key)]
        if len(said) > 1:
            raise ValueError(f"{' and '.join(said)}: each names a model; keep one of them")
        if self.is_loaded:
            (source,) = said
            for key, field in type(self).model_fields.items():
                if key in (source, "rope_theta", "max_positions"):
                    continue
                if getattr(self, key) != field.default:
                    raise ValueError(f"{key}: {source} says it already; remove one of them")
        return self

    @model_validator(mode="after")
    def _heads_divide(self) -> "ModelShape":
        if self.head_width is None and (
            self.hidden_size % self.num_heads or (self.hidden_size // self.num_heads) % 2
        ):
            raise ValueError(
                f"num_heads: {self.num_heads} heads do not cut hidden_size "
                f"{self.hidden_size} into heads of even width"
            )
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_kv_heads: {self.num_kv_heads} does not divide num_heads {self.num_heads}"
            )
        if self.attention_bias and self.family not in ("llama", "qwen3"):
            raise ValueError(f"attention_bias: {self.family} has none to set; remove it")
        return self


def preset_fields(name: str) -> dict[str, Any]:
    """The fields of a ``ModelShape`` that a preset gives.

    Raises:
        ValueError: no such preset; names the nearest.
    """
    known = preset_name(name)
    if known is None:
        names = sorted([*SHAPES, *ALIASES])
        raise ValueError(f"preset: no {name!r}{nearest(name, names)}; presets: {', '.join(names)}")
    shape = SHAPES[known]
    biased = bool(shape.get("qkv_bias"))
    family = "qwen3" if shape.get("head_norm") else "llama"
    if biased and not shape.get("output_bias"):
        family = "qwen2"
    return {
        "family": family,
        "hidden_size": shape["hidden"],
        "num_layers": shape["layers"],
        "num_heads": shape["heads"],
        "num_kv_heads": shape["kv_heads"],
        "head_width": shape.get("head_width"),
        "mlp_size": shape["mlp"],
        "attention_bias": bool(shape.get("output_bias")),
        "vocab_size": shape["vocab"],
        "norm_eps": shape["eps"],
        "tie_embeddings": bool(shape.get("tied")),
        "rope_theta": shape["theta"],
        "max_positions": shape["positions"],
    }
