"""A transformers model from a shape's numbers or a config, initialised from a seed."""

from typing import Any

import torch

from trainer.models.shape import ModelShape

_TO_RESIDUAL = ("o_proj.weight", "down_proj.weight")
"""Ends of the names of the matrices that write to the residual stream."""


def hf_config(shape: ModelShape, vocab_size: int, tokenizer: Any) -> Any:
    """The transformers config of a shape's numbers.

    Args:
        vocab_size: rows of the embedding where the shape says nothing.
        tokenizer: gives the special tokens.
    """
    from transformers import AutoConfig

    other: dict[str, Any] = {}
    if shape.family in ("llama", "qwen3"):
        other["attention_bias"] = shape.attention_bias
    if shape.family == "mistral":
        other["sliding_window"] = None
    if shape.head_width is not None:
        other["head_dim"] = shape.head_width
    elif shape.family == "qwen3":  # its own default is 128, whatever the width
        other["head_dim"] = shape.hidden_size // shape.num_heads
    return AutoConfig.for_model(
        shape.family,
        vocab_size=shape.vocab_size or vocab_size,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        intermediate_size=shape.mlp_size,
        max_position_embeddings=shape.max_positions,
        rms_norm_eps=shape.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=shape.tie_embeddings,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **other,
    )


def initialise(config: Any, seed: int, dtype: torch.dtype = torch.bfloat16) -> Any:
    """A new model.

    Matrices are normal with the config's ``initializer_range`` (0.02), those that write to
    the residual stream smaller by sqrt(2 * layers), so that its variance does not grow with
    the depth (GPT-2, Radford et al. 2019, section 2.3).
    """
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    scale = (2 * config.num_hidden_layers) ** 0.5
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(_TO_RESIDUAL):
                weight /= scale
    return model.to(dtype)
