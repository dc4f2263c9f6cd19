"""Models of the Llama kind: made from a seed, their loss, and their files.

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
from trainer.data.rows import Batch
from trainer.losses.cross_entropy import linear_cross_entropy
from trainer.models.build import hf_config, initialise
from trainer.models.compiled import compile_layers
from trainer.models.recompute import apply_recompute
from trainer.models.shape import ModelShape


class NextTokenLoss(nn.Module):
    """A causal language model whose forward pass is the summed loss of a batch."""

    def __init__(
        self,
        model: Any,
        sequence: SequenceGroup | None = None,
        recompute: str = "none",
        compiled: bool = False,
    ) -> None:
        """Wrap a transformers model.

        Args:
            sequence: ranks that share every line; each computes a run of its positions.
            recompute: ``none``, ``selective`` or ``full``.
            compiled: fuse the layers and the loss by torch.compile.
        """
        super().__init__()
        self.model = model
        self._sequence = sequence
        self._compiled = compiled
        documents.register(compiled)
        model.set_attn_implementation(documents.NAME)
        apply_recompute(model, recompute)
        if compiled:
            compile_layers(model)

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
            hidden.flatten(0, 1), self.model.lm_head.weight, labels.flatten(), self._compiled
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
    """A freshly initialised model of a shape's numbers; see :func:`build.initialise`."""
    return initialise(hf_config(shape, vocab_size, tokenizer), seed, dtype)


def load_model(
    directory: Path, dtype: torch.dtype = torch.bfloat16, config: Any | None = None
) -> Any:
    """The model of a checkpoint's ``model/`` folder; ``config`` stands in for its own."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        directory, config=config, dtype=dtype, use_safetensors=True, local_files_only=True
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


def save_model(model: Any, state: dict[str, torch.Tensor], directory: Path) -> None:
    """Write a model's weights and configs, beside what ``save_about`` writes.

    Args:
        model: gives the architecture; its weights are not read.
        state: weights by name.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    model.save_pretrained(directory, state_dict=state)


def save_about(model: Any, directory: Path, tokenizer_from: Path) -> None:
    """Write all of Hugging Face's layout but the weights: configs and tokenizer.

    Args:
        model: its generation config is set too: where a generation ends.
        tokenizer_from: folder whose tokenizer files are copied as they are.
    """
    from transformers import GenerationConfig

    directory.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        bos_token_id=model.config.bos_token_id,
        eos_token_id=stop_ids(load_tokenizer(tokenizer_from)),
        pad_token_id=model.config.pad_token_id,
    )
    model.config.architectures = [type(model).__name__]
    model.config.dtype = str(model.dtype).removeprefix("torch.")
    model.config.save_pretrained(directory)
    model.generation_config.save_pretrained(directory)
    for name in TOKENIZER_FILES:
        if (tokenizer_from / name).is_file():
            shutil.copyfile(tokenizer_from / name, directory / name)


def stop_ids(tokenizer: Any) -> list[int]:
    """Tokens that end a generation: end of turn and end of text, where there are such."""
    names = [*STOP_TOKENS, tokenizer.eos_token]
    vocabulary = tokenizer.get_vocab()
    return sorted({vocabulary[name] for name in names if name in vocabulary})
