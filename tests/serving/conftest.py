"""A tiny random Llama with a tokenizer trained on a few lines, as an HF directory."""

import json
import shutil
from pathlib import Path

import pytest

from clusters.artifact import Artifact
from clusters.config import StageConfig
from clusters.execute import run_stage
from clusters.stage import Stage, StageContext
from contracts.conversation import chat_template
from serving.quant.config import QuantizeConfig
from serving.stages import STAGES

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"]
TEXT = [
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "system user assistant tool name arguments calculator expression",
    "A stage writes one directory, closed by its manifest; nothing is renamed.",
    "日本語とÅngström, emoji 🙂🎉, naïve café — all of it is text.",
]


def make_tokenizer(path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT * 3, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=SPECIAL[1:],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = chat_template("chatml")
    fast.save_pretrained(path)


def make_model(path: Path, *, seed: int = 0, dtype: str = "float32", **overrides: int) -> Path:
    """Write a random Llama of a few hundred thousand parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    make_tokenizer(path)
    vocab = len(json.loads((path / "tokenizer.json").read_text())["model"]["vocab"])
    sizes = dict(
        vocab_size=-(-(vocab + len(SPECIAL)) // 16) * 16,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.2,
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**{**sizes, **overrides}))
    model.to(getattr(torch, dtype)).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def bf16_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("bf16"), seed=1, dtype="bfloat16")


def as_checkpoint(model: Path, store: Path) -> Artifact:
    """The model directory as a committed artifact of kind ``checkpoint``."""

    def run(context: StageContext) -> dict[str, object]:
        for file in model.iterdir():
            shutil.copyfile(file, context.out.path(f"model/{file.name}"))
        return {}

    stage = Stage(name="trainer.copy", config=StageConfig, output="checkpoint", run=run)
    return run_stage(stage, StageConfig(), store=store)


@pytest.fixture(scope="session")
def int4_dir(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("int4")
    inputs = {"model": [as_checkpoint(model_dir, store)]}
    return run_stage(STAGES[0], QuantizeConfig(group_size=32), inputs, store=store).path("model")


@pytest.fixture(scope="session")
def needs_compiler() -> None:
    if shutil.which("g++") is None:
        pytest.skip("there is no g++")
