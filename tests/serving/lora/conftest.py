"""Adapters made by peft itself over the tiny Llama."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from serving.load import load_model

Make = Callable[..., Path]

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make_adapter(model_dir: Path, path: Path, **said: Any) -> Path:
    """An adapter with random matrices, written by peft."""
    from peft import LoraConfig, get_peft_model

    sizes = {"r": 4, "lora_alpha": 16, "target_modules": ALL, "task_type": "CAUSAL_LM"}
    torch.manual_seed(random.randrange(1 << 30))
    model = get_peft_model(load_model(model_dir), LoraConfig(**{**sizes, **said}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.15)
    model.save_pretrained(path, save_embedding_layers=False)
    return path


@pytest.fixture(scope="session")
def adapter_dirs(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters of several makes by name."""
    kinds: dict[str, dict[str, Any]] = {
        "all": {},
        "rs": {"r": 8, "use_rslora": True},
        "some": {"r": 2, "target_modules": ["q_proj", "down_proj"]},
        "patterns": {
            "rank_pattern": {"v_proj": 6, r"layers\.1\.self_attn\.o_proj": 3},
            "alpha_pattern": {"v_proj": 5},
        },
    }
    folder = tmp_path_factory.mktemp("adapters")
    return {name: make_adapter(model_dir, folder / name, **said) for name, said in kinds.items()}


def merged(model_dir: Path, path: Path) -> Any:
    """What peft makes of base and adapter: one plain model."""
    from peft import PeftModel

    model: Any = PeftModel.from_pretrained(load_model(model_dir), str(path))
    return model.merge_and_unload().eval()
