"""A random Llama of 197M parameters as a model directory, and the same in 4 bits."""

from pathlib import Path
from typing import Any, Literal

SIZES: dict[str, Any] = dict(
    vocab_size=16384,
    hidden_size=1024,
    intermediate_size=2816,
    num_hidden_layers=16,
    num_attention_heads=16,
    num_key_value_heads=4,
    max_position_embeddings=2048,
    tie_word_embeddings=True,
)
SMALL: dict[str, Any] = dict(
    hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4
)


def make_model(path: Path, small: bool = False, tied: bool = True) -> Path:
    """Write the model in bf16; only its shape matters here.

    Not ``tied``, its output projection is a matrix of its own and can be packed.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(**{**SIZES, **(SMALL if small else {}), "tie_word_embeddings": tied})
    LlamaForCausalLM(config).bfloat16().save_pretrained(path)
    return path


def make_int4(
    source: Path, path: Path, group_size: Literal[32, 64, 128] = 64, lm_head: bool = False
) -> Path:
    """Write the same model with packed weights, the output projection's too with ``lm_head``."""
    from serving.directory import weight_files
    from serving.quant.config import QuantizeConfig
    from serving.quant.files import side_files
    from serving.quant.formats import format_of
    from serving.quant.pieces import quantize_file
    from serving.quant.select import select

    path.mkdir()
    config = QuantizeConfig(group_size=group_size, quantize_lm_head=lm_head)
    chosen = select(source, config)
    for file in weight_files(source):
        quantize_file(file, path / f"int4-{file.name}", chosen, format_of(config), None)
    for name, content in side_files(source, chosen, config):
        (path / name).write_bytes(content)
    return path
