"""Models by a config or from old weights: what is trained, what is written, what is refused."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from clusters.artifact import Artifact
from clusters.config import ConfigError
from tests.trainer.inputs import VOCABULARY, Inputs, run_pretrain
from trainer.data.rows import Row, collate
from trainer.models.llama import NextTokenLoss

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
CONFIGS: dict[str, dict] = {
    "llama": {},
    "mistral": {"sliding_window": 64},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
}


def write_config(folder: Path, family: str, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_type": family, **SIZES, **CONFIGS.get(family, {}), **changes}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def pretrain(inputs: Inputs, store: Path, model: dict, **changes) -> Artifact:
    return run_pretrain(inputs, store, workers=1, model=model, steps=2, **changes)


def loaded(artifact: Artifact):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(artifact.path("model"), dtype=torch.float32)


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_the_loss_of_each_family_is_that_of_its_own_forward_pass(family: str):
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(family, **{**SIZES, **CONFIGS[family]}, initializer_range=0.2)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    lengths = [random.randint(2, 40) for _ in range(3)]
    chance = np.random.default_rng()
    rows = [
        Row(chance.integers(0, VOCABULARY, n), chance.integers(0, VOCABULARY, n), np.zeros(n, "i4"))
        for n in lengths
    ]
    wanted = 0.0
    with torch.no_grad():
        for row in rows:
            logits = model(torch.from_numpy(row.inputs)[None]).logits[0]
            labels = torch.from_numpy(row.labels)
            wanted += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
        found = float(NextTokenLoss(model)(collate(rows)))
    assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("family", ["mistral", "qwen3"])
def test_a_config_is_trained_and_written_as_its_family(inputs: Inputs, tmp_path: Path, family: str):
    folder = write_config(tmp_path / "config", family)
    made = pretrain(inputs, tmp_path, {"config": str(folder)})
    model = loaded(made)
    assert model.config.model_type == family
    assert sum(p.numel() for p in model.parameters()) == made.manifest.stats["out"]["parameters"]
    assert [item.name for item in made.manifest.external] == ["model.config/config.json"]


def test_training_goes_on_from_the_weights(inputs: Inputs, base: Artifact, tmp_path: Path):
    """The first validation is the old run's last, up to its rounding to bf16."""
    made = pretrain(inputs, tmp_path, {"start_from": str(base.directory)})
    before = json.loads(base.path("metrics.jsonl").read_text().splitlines()[-1])["validation"]
    after = json.loads(made.path("metrics.jsonl").read_text().splitlines()[0])["validation"]
    assert after == pytest.approx(before, abs=2e-3)
    names = {item.name for item in made.manifest.external}
    assert "model.start_from/model.safetensors" in names


def test_other_weights_are_another_result(inputs: Inputs, base: Artifact, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "base"
    shutil.copytree(base.path("model"), folder)
    first = pretrain(inputs, tmp_path, {"start_from": str(folder)})
    weights = load_file(folder / "model.safetensors")
    name = next(iter(weights))
    weights[name] = weights[name] + 0.125
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    second = pretrain(inputs, tmp_path, {"start_from": str(folder)})
    assert first.manifest.fingerprint != second.manifest.fingerprint


def test_another_rotary_base_is_trained_with_and_written(
    inputs: Inputs, base: Artifact, tmp_path: Path
):
    """Longer rows than the base has positions, against plain transformers with that base."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sharp = with_sharp_attention(base, tmp_path / "sharp")
    model = {"start_from": str(sharp), "rope_theta": 50.0, "max_positions": 2048}
    made = pretrain(inputs, tmp_path, model, sequence_length=300, batch=2, precision="fp32")
    said = json.loads((made.path("model") / "config.json").read_text())
    assert said["max_position_embeddings"] == 2048
    assert AutoConfig.from_pretrained(made.path("model")).rope_parameters["rope_theta"] == 50.0
    old = AutoConfig.from_pretrained(sharp)
    old.rope_parameters = {"rope_type": "default", "rope_theta": 50.0}
    old.max_position_embeddings = 2048
    twin = AutoModelForCausalLM.from_pretrained(sharp, config=old, dtype=torch.float32)
    first = json.loads(made.path("metrics.jsonl").read_text().splitlines()[0])["validation"]
    wanted = _loss(inputs, twin, 300)
    assert first["docs"] == pytest.approx(wanted, rel=1e-4)
    other = AutoModelForCausalLM.from_pretrained(sharp, dtype=torch.float32)
    assert abs(_loss(inputs, other, 300) / wanted - 1) > 1e-3  # the old rotations do not pass


def with_sharp_attention(base: Artifact, folder: Path) -> Path:
    """A copy whose attention is far from uniform: other rotations move its loss by 3 in 1,000."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(base.path("model"), folder)
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            weights[name] = weight * 40
        elif name.endswith(("v_proj.weight", "o_proj.weight", "embed_tokens.weight")):
            weights[name] = weight * 10
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def _loss(inputs: Inputs, model, length: int) -> float:
    """Mean loss on the validation rows of ``docs``, document by document."""
    from corpus.token_store import TokenStore
    from trainer.data.tokens import TokenRows

    root = inputs.tokens.path("tokens")
    train, held = TokenStore.open(root / "train"), TokenStore.open(root / "validation")
    rows = TokenRows(train, held, sequence_length=length, seed=11, validation_rows=3)
    total, count = 0.0, 0
    for row in rows.validation()["docs"]:
        for segment in range(int(row.segments[-1]) + 1):
            mine = row.segments == segment
            labels = torch.from_numpy(row.labels[mine])
            with torch.no_grad():
                logits = model(torch.from_numpy(row.inputs[mine])[None]).logits[0].float()
            total += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
            count += int((labels >= 0).sum())
    return total / count


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("llama", {"vocab_size": 100}, r"100 embedding rows, but .* vocabulary is \d+; take"),
        ("internlm2", {}, "inkstone train convert .* --to llama"),
        ("mixtral", {}, "model_type 'mixtral'; the trainer takes llama, qwen2"),
        ("mistral", {"sliding_window": 40}, "48 is more than the sliding window 40"),
        ("llama", {"max_position_embeddings": 47}, "48 is more than the 47 positions"),
        ("llama", {"hidden_size": "x"}, r"model\.config: .*hidden_size"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(
    inputs: Inputs, tmp_path: Path, family: str, changes: dict, message: str
):
    folder = write_config(tmp_path / "config", family, **changes)
    with pytest.raises(ConfigError, match=message):
        pretrain(inputs, tmp_path, {"config": str(folder)})


def test_a_vocabulary_smaller_than_the_store_is_refused(inputs: Inputs, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"model\.vocab_size: 100 embedding rows"):
        pretrain(inputs, tmp_path, {"vocab_size": 100})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json there"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no .*safetensors"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer.json"),
        (lambda folder: _swap_two_tokens(folder), "trained with another tokenizer"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    inputs: Inputs, base: Artifact, tmp_path: Path, damage, message: str
):
    folder = tmp_path / "base"
    shutil.copytree(base.path("model"), folder)
    damage(folder)
    with pytest.raises(ConfigError, match=message):
        pretrain(inputs, tmp_path, {"start_from": str(folder)})


def _swap_two_tokens(folder: Path) -> None:
    path = folder / "tokenizer.json"
    raw = json.loads(path.read_text())
    vocabulary = raw["model"]["vocab"]
    one, other = list(vocabulary)[20:22]
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    path.write_text(json.dumps(raw))
