"""Which model a shape asks for: new by its numbers, new by a config, or old weights."""

from typing import Any

import torch

from trainer.models.build import initialise
from trainer.models.llama import load_model, new_model
from trainer.models.shape import ModelShape
from trainer.models.source import source_config, source_folder


def make_model(
    shape: ModelShape, vocab_size: int, tokenizer: Any, seed: int, dtype: torch.dtype
) -> Any:
    """The model that training starts from; see ``ModelShape`` for where it comes from."""
    if not shape.is_loaded:
        return new_model(shape, vocab_size, tokenizer, seed, dtype)
    config = source_config(shape)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config, name, getattr(tokenizer, name))
    if shape.start_from:
        return load_model(source_folder(shape)[1], dtype, config)
    return initialise(config, seed, dtype)
