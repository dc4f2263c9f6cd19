"""Whether a checkpoint in Llama's layout has the tensors that its ``config.json`` describes."""

from collections.abc import Iterable
from typing import Any

from clusters.config import ConfigError
from trainer.convert.safetensors_files import Described

SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
)
"""Keys of ``config.json`` without which no shape is known; alike in both layouts."""


def check_complete(tensors: Iterable[Described], config: dict[str, Any]) -> None:
    """Refuse what transformers would fill with random numbers, or would not load.

    Args:
        tensors: by the names of Llama's layout.
        config: Llama's.

    Raises:
        ConfigError: names a tensor that is missing, is of another shape, or has no place.
    """
    found = {tensor.name: tensor.shape for tensor in tensors}
    wanted = _shapes(config)
    tied = {"lm_head.weight"} if config.get("tie_word_embeddings") else set()
    for name, shape in wanted.items():
        if name not in found and name not in tied:
            raise ConfigError(
                f"{name}: missing; config.json describes it, so fetch the rest of the checkpoint"
            )
        if found.get(name, shape) != shape:
            raise ConfigError(f"{name}: shape {found[name]}, config.json says {shape}")
    for name in found:
        if name not in wanted:
            raise ConfigError(f"{name}: config.json describes no such tensor; is it of this model?")


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of a Llama's tensors by name."""
    vocab, hidden, layers, heads, mlp = (int(config[key]) for key in SIZES)
    width = int(config.get("head_dim") or hidden // heads)
    queries, keys = heads * width, int(config.get("num_key_value_heads") or heads) * width
    attention = {
        "q_proj": (queries, hidden),
        "k_proj": (keys, hidden),
        "v_proj": (keys, hidden),
        "o_proj": (hidden, queries),
    }
    dense = {"gate_proj": (mlp, hidden), "up_proj": (mlp, hidden), "down_proj": (hidden, mlp)}
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, hidden)}
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for group, matrices in (("self_attn", attention), ("mlp", dense)):
            for name, shape in matrices.items():
                shapes[f"{at}{group}.{name}.weight"] = shape
                if config.get("attention_bias" if group == "self_attn" else "mlp_bias"):
                    shapes[f"{at}{group}.{name}.bias"] = shape[:1]
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{at}{norm}.weight"] = (hidden,)
    return {**shapes, "model.norm.weight": (hidden,), "lm_head.weight": (vocab, hidden)}
