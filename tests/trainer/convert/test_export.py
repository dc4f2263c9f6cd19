"""The model out of a sharded checkpoint: in mid-run, by several ranks, after the end."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from clusters.artifact import Artifact, artifact_directory
from clusters.config import ConfigError
from clusters.runs import StageRecord, new_record
from clusters.runs import save as save_run
from tests.trainer.inputs import Inputs
from tests.trainer.ranks import SHAPE, VOCABULARY, NoTokenizer, Run, run_here, run_ranks
from trainer.cli import app
from trainer.convert.export import export
from trainer.models.llama import new_model, save_about


def unfinished(root: Path, tokenizer: Path, dtype: torch.dtype = torch.float32) -> Path:
    """An artifact's folder in mid-run, without its checkpoints; returns its state folder."""
    state = root / "work" / "state"
    save_about(new_model(SHAPE, VOCABULARY, NoTokenizer(), 1, dtype), state / "model", tokenizer)
    return state


def loaded(folder: Path) -> dict[str, torch.Tensor]:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


def test_the_newest_checkpoint_is_the_model_that_was_trained(tmp_path: Path, tokenizer_dir: Path):
    state = unfinished(tmp_path / "a", tokenizer_dir)
    trained = run_here(Run(str(state), {"workers": 1}, 1, steps=4))
    made = export(tmp_path / "a", tmp_path / "out", shard_bytes=5000)
    assert made == {"step": 4, "samples": 20, "artifact": "a"}
    assert json.loads((tmp_path / "out" / "export.json").read_text()) == made
    found = loaded(tmp_path / "out")
    assert set(found) == set(trained.weights)
    for name, weight in trained.weights.items():
        assert torch.equal(found[name], weight), name
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 1
    assert (tmp_path / "out" / "tokenizer.json").is_file()


def test_shards_of_several_ranks_are_put_together(tmp_path: Path, tokenizer_dir: Path):
    layouts = {"zero-3": {"zero_stage": 3}, "groups": {"shard_group": 2}}
    runs = [
        Run(str(unfinished(tmp_path / name, tokenizer_dir)), {"workers": 2, **how}, 2, steps=2)
        for name, how in layouts.items()
    ]
    for name, trained in zip(layouts, run_ranks(2, *runs), strict=True):
        export(tmp_path / name, tmp_path / f"{name}-out")
        found = loaded(tmp_path / f"{name}-out")
        for key, weight in trained.weights.items():
            torch.testing.assert_close(found[key], weight, rtol=0, atol=0)


def test_weights_are_rounded_to_what_is_trained_with(tmp_path: Path, tokenizer_dir: Path):
    state = unfinished(tmp_path / "a", tokenizer_dir, torch.bfloat16)
    trained = run_here(Run(str(state), {"workers": 1}, 1, steps=2, precision="bf16"))
    export(tmp_path / "a", tmp_path / "out")
    found = loaded(tmp_path / "out")
    for name, weight in trained.weights.items():
        assert weight.dtype == found[name].dtype == torch.bfloat16
        assert torch.equal(found[name], weight), name


def test_an_older_step_that_is_kept(tmp_path: Path, tokenizer_dir: Path):
    state = unfinished(tmp_path / "a", tokenizer_dir)
    run_here(Run(str(state), {"workers": 1}, 1, steps=4))
    early = run_here(Run(str(tmp_path / "early"), {"workers": 1}, 1, steps=4, stop_after=2))
    assert len(early.losses) == 3
    assert export(tmp_path / "a", tmp_path / "three", step=3)["step"] == 3
    found = loaded(tmp_path / "three")
    for name, weight in early.weights.items():
        assert torch.equal(found[name], weight), name
    with pytest.raises(ConfigError, match="--step 1: the steps kept are 3, 4"):
        export(tmp_path / "a", tmp_path / "one", step=1)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, tokenizer_dir: Path):
    state = unfinished(tmp_path / "a", tokenizer_dir)
    run_here(Run(str(state), {"workers": 1}, 1, steps=3))
    shard = next(state.glob("step-00000003.*/*.safetensors"))
    raw = bytearray(shard.read_bytes())
    raw[-1] ^= 1
    shard.write_bytes(raw)
    assert export(tmp_path / "a", tmp_path / "out")["step"] == 2
    with pytest.raises(ConfigError, match="is not what was saved"):
        export(tmp_path / "a", tmp_path / "three", step=3)
    assert not list(tmp_path.glob(".*")), "nothing half written is left"


def test_a_finished_run_gives_its_model(base: Artifact, tmp_path: Path):
    arguments = ["export", str(base.directory), "--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["step"] == 8
    for path in base.path("model").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    with pytest.raises(ConfigError, match="its checkpoints are gone; it has step 8"):
        export(base.directory, tmp_path / "other", step=4)


def test_an_unfinished_run_is_found_by_its_record(
    tmp_path: Path, tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    """As the runner leaves it while a stage trains: a fingerprint, and no artifact yet."""
    recipe = Path("recipes/demo.yaml").absolute()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INKSTONE_DATA", str(tmp_path))
    record = new_record("demo", recipe, None)
    fingerprint = "ab" * 32
    record.stages = {
        "tokens": StageRecord(stage="corpus.tokens", kind="tokens", status="done"),
        "pretrain": StageRecord(
            stage="trainer.pretrain", kind="checkpoint", status="running", fingerprint=fingerprint
        ),
        "sft": StageRecord(stage="trainer.sft", kind="checkpoint", status="waiting"),
    }
    save_run(tmp_path / "runs" / "demo", record)
    folder = artifact_directory(tmp_path / "store", "checkpoint", fingerprint)
    state = unfinished(folder, tokenizer_dir)
    run_here(Run(str(state), {"workers": 1}, 1, steps=2))
    for number, path in enumerate(("runs/demo", "runs/demo/pretrain")):
        assert export(Path(path), tmp_path / f"out-{number}")["step"] == 2
    with pytest.raises(ConfigError, match="runs/demo/sft: has not started"):
        export(Path("runs/demo/sft"), tmp_path / "sft")
    with pytest.raises(ConfigError, match="no training; it has pretrain, sft"):
        export(Path("runs/demo/tokens"), tmp_path / "tokens")


@pytest.mark.parametrize("where", ["nothing", "no checkpoint", "target"])
def test_what_cannot_be_exported_is_said(inputs: Inputs, tmp_path: Path, where: str):
    message = {
        "nothing": "no run there",
        "no checkpoint": "no checkpoint yet",
        "target": "is not empty",
    }[where]
    source = tmp_path / "run"
    if where != "nothing":
        unfinished(source, inputs.tokenizer.path("tokenizer"))
    out = source if where == "target" else tmp_path / "out"
    with pytest.raises(ConfigError, match=message):
        export(source, out)
