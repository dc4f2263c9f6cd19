"""The Llama-shaped model: made from a seed, its loss, and its files.

The module is transformers' own, so that what is saved is what plain
``AutoModelForCausalLM`` loads.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from serving.tokenizer import STOP_TOKENS
from trainer.attention import documents
from trainer.attention.ulysses import SequenceGroup
from trainer.config import ModelShape
from trainer.data.rows import Batch
from trainer.losses.cross_entropy import linear_cross_entropy
from trainer.models.recompute import apply_recompute


class NextTokenLoss(nn.Module):
    """A causal language model whose forward pass is the summed loss of a batch."""

    def __init__(
        self, model: Any, sequence: SequenceGroup | None = None, recompute: str = "none"
    ) -> None:
        """Wrap a transformers model.

        Args:
            sequence: ranks that share every line; each computes a run of its positions.
            recompute: ``none``, ``selective`` or ``full``.
        """
        super().__init__()
        self.model = model
        self._sequence = sequence
        documents.register()
        model.set_attn_implementation(documents.NAME)
        apply_recompute(model, recompute)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Sum of the next-token losses of this rank's positions, in nats, as an fp32 scalar."""
        device = self.model.device
        inputs, labels, positions = (
            self._own(x).to(device) for x in (batch.inputs, batch.labels, batch.positions)
        )
        hidden = self.model.model(
            input_ids=inputs,
            position_ids=positions,
            use_cache=False,
            documents=documents.Documents(batch.lengths, self._sequence),
        ).last_hidden_state
        return linear_cross_entropy(
            hidden.flatten(0, 1), self.model.lm_head.weight, labels.flatten()
        )

    def _own(self, line: torch.Tensor) -> torch.Tensor:
        return line if self._sequence is None else self._sequence.run(line)


DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def new_model(
    shape: ModelShape,
    vocab_size: int,
    tokenizer: Any,
    seed: int,
    dtype: torch.dtype = torch.bfloat16,
) -> Any:
    """A freshly initialised ``LlamaForCausalLM``.

    Matrices are normal with deviation 0.02, those that write to the residual stream
    smaller by sqrt(2 * layers), as in GPT-2.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        intermediate_size=shape.mlp_size,
        max_position_embeddings=shape.max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=shape.tie_embeddings,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    model: Any = LlamaForCausalLM(config)
    with torch.no_grad():
        for layer in model.model.layers:
            for matrix in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight):
                matrix /= (2 * shape.num_layers) ** 0.5
    return model.to(dtype)


def load_model(directory: Path, dtype: torch.dtype = torch.bfloat16) -> Any:
    """The model of a checkpoint's ``model/`` folder."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        directory, dtype=dtype, use_safetensors=True, local_files_only=True
    )


def load_tokenizer(directory: Path) -> Any:
    """The tokenizer in a ``tokenizer/`` or ``model/`` folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory, local_files_only=True)


TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)


def save_model(
    model: Any,
    state: dict[str, torch.Tensor],
    directory: Path,
    *,
    tokenizer_from: Path,
    stop_ids: list[int],
) -> None:
    """Write Hugging Face's layout: weights, configs, tokenizer with its chat template.

    Args:
        model: gives the architecture; its weights are not read.
        state: weights by name.
        tokenizer_from: folder whose tokenizer files are copied as they are.
        stop_ids: tokens that end a generation, for ``generation_config.json``.
    """
    from transformers import GenerationConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    model.generation_config = GenerationConfig(
        bos_token_id=model.config.bos_token_id,
        eos_token_id=stop_ids,
        pad_token_id=model.config.pad_token_id,
    )
    model.save_pretrained(directory, state_dict=state)
    for name in TOKENIZER_FILES:
        if (tokenizer_from / name).is_file():
            shutil.copyfile(tokenizer_from / name, directory / name)


def stop_ids(tokenizer: Any) -> list[int]:
    """Tokens that end a generation: end of turn and end of text, where there are such."""
    names = [*STOP_TOKENS, tokenizer.eos_token]
    vocabulary = tokenizer.get_vocab()
    return sorted({vocabulary[name] for name in names if name in vocabulary})
