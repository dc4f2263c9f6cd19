"""Whole stages: what they write, what they refuse, and that two workers agree with one."""

import io
import json
import random
import shutil
from pathlib import Path

import pytest
import torch

from clusters.artifact import Artifact, ArtifactWriter
from clusters.config import ConfigError, StageConfig
from clusters.execute import run_stage
from clusters.progress import Progress
from clusters.stage import Stage, StageContext, StageError
from tests.trainer.inputs import TINY_MODEL, Inputs, pretrain_config, run_pretrain, run_sft
from trainer.checkpoint.lock import only_driver
from trainer.config import PretrainConfig, SftConfig
from trainer.job import Job
from trainer.pretrain import Pretraining
from trainer.sft import TooManyBadConversations, check_base
from trainer.workers import TrainingFailed, run_job


def metrics(artifact: Artifact) -> list[dict]:
    return [json.loads(line) for line in artifact.path("metrics.jsonl").read_text().splitlines()]


def load(artifact: Artifact):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = artifact.path("model")
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def test_plain_transformers_loads_and_generates(base: Artifact):
    model, tokenizer = load(base)
    assert sum(p.numel() for p in model.parameters()) == base.manifest.stats["out"]["parameters"]
    chat = [{"role": "user", "content": "sum of the list?"}]
    prompt = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    out = model.generate(**prompt, max_new_tokens=5, do_sample=False)
    assert out.shape[1] > prompt["input_ids"].shape[1]
    stops = {tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|endoftext|>")}
    assert set(model.generation_config.eos_token_id) == stops


def test_the_artifact_tells_its_story(base: Artifact):
    about = json.loads(base.path("trainer.json").read_text())
    assert (about["step"], about["samples"], about["world_size"]) == (8, 40, 1)
    assert about["config"]["model"]["hidden_size"] == 32
    assert "max_failures" not in about["config"]["parallel"]
    assert set(about["unigram_loss"]) == {"docs", "docstrings"}
    lines = metrics(base)
    assert [line["step"] for line in lines if "validation" in line] == [0, 4, 8]
    stats = base.manifest.stats
    assert stats["in"]["rows"] == 8 * 5
    assert stats["in"]["tokens_seen"] == 8 * 5 * 48
    assert stats["out"]["steps"] == 8
    assert stats["out"]["validation_loss/docs"] == lines[-1]["validation"]["docs"]
    assert stats["out"]["loss_tokens"] == sum(x["loss_tokens"] for x in lines if "loss" in x)
    for side in ("in", "out"):
        assert all(isinstance(value, int | float) for value in stats[side].values())
    assert "seconds" not in base.path("metrics.jsonl").read_text()
    assert base.verify() == []


def test_the_saved_weights_have_the_reported_loss(inputs: Inputs, base: Artifact):
    """The loss in the metrics is that of the model in the folder, by transformers itself."""
    from corpus.token_store import TokenStore
    from trainer.data.tokens import TokenRows

    root = inputs.tokens.path("tokens")
    train, held = TokenStore.open(root / "train"), TokenStore.open(root / "validation")
    rows = TokenRows(train, held, sequence_length=48, seed=11, validation_rows=3).validation()
    model, _ = load(base)
    total, count = 0.0, 0
    for row in rows["docs"]:
        for segment in range(int(row.segments[-1]) + 1):
            mine = row.segments == segment
            ids = torch.from_numpy(row.inputs[mine])[None]
            labels = torch.from_numpy(row.labels[mine])
            logits = model(ids).logits[0].float()
            total += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
            count += int((labels >= 0).sum())
    assert total / count == pytest.approx(metrics(base)[-1]["validation"]["docs"], rel=5e-3)


def check_agreement(one: Artifact, two: Artifact) -> None:
    """Same batches in the same order; losses within 0.5 %, gradient norms within 3 %."""
    for line, other in zip(metrics(one), metrics(two), strict=True):
        assert (line["step"], line["samples"]) == (other["step"], other["samples"])
        if "loss" in line:
            assert line["loss_tokens"] == other["loss_tokens"]
            assert line["lr"] == other["lr"]
            assert other["loss"] == pytest.approx(line["loss"], rel=5e-3)
            assert other["grad_norm"] == pytest.approx(line["grad_norm"], rel=3e-2)
        else:
            for domain, loss in line["validation"].items():
                assert other["validation"][domain] == pytest.approx(loss, rel=5e-3)


def test_two_deepspeed_workers_agree_with_one_plain_process(base: Artifact, two_workers: Artifact):
    check_agreement(base, two_workers)
    assert json.loads(two_workers.path("trainer.json").read_text())["world_size"] == 2
    load(two_workers)


@pytest.mark.slow
def test_zero_2_agrees_with_one_plain_process(
    inputs: Inputs, base: Artifact, tmp_path: Path, ray_session: None
):
    parallel = {"workers": 2, "micro_batch": 2, "zero_stage": 2}
    check_agreement(base, run_pretrain(inputs, tmp_path, workers=2, parallel=parallel))


@pytest.mark.slow
def test_training_takes_the_workers_that_there_are(
    inputs: Inputs, base: Artifact, tmp_path: Path, ray_session: None
):
    """One to three workers of a CPU each on two CPUs."""
    parallel = {"workers": 3, "min_workers": 1, "cpus_per_worker": 0.8, "micro_batch": 2}
    made = run_pretrain(inputs, tmp_path, workers=3, parallel=parallel)
    assert json.loads(made.path("trainer.json").read_text())["world_size"] == 2
    check_agreement(base, made)


def test_tuning_lowers_the_loss_on_conversations(base: Artifact, inputs: Inputs, tmp_path: Path):
    tuned = run_sft(base, inputs.conversations, tmp_path, workers=1, epochs=6)
    stats = tuned.manifest.stats
    assert (stats["in"]["conversations"], stats["in"]["rejected"]) == (60, 0)
    first = stats["validation_first"]["arithmetic"]
    assert stats["out"]["validation_loss/arithmetic"] < 0.8 * first
    load(tuned)
    assert tuned.path("rejected.jsonl").read_text() == ""
    assert [p.role for p in tuned.manifest.parents] == ["base", "conversations"]


def test_replay_keeps_pretraining_text_in_the_mix(base: Artifact, inputs: Inputs, tmp_path: Path):
    tuned = run_sft(
        base, inputs.conversations, tmp_path, workers=1, replay=inputs.tokens, replay_share=0.25
    )
    counts = tuned.manifest.stats["in"]
    assert counts["replayed_rows"] == counts["rows"] // 4 > 0
    validation = metrics(tuned)[-1]["validation"]
    assert set(validation) >= {"arithmetic", "replay/docs", "replay/docstrings"}
    alone = run_sft(base, inputs.conversations, tmp_path, workers=1)
    assert alone.manifest.stats["in"]["replayed_rows"] == 0
    assert alone.manifest.digest != tuned.manifest.digest


def spoiled(inputs: Inputs, store: Path, bad_lines: list[str]) -> Artifact:
    def write(context: StageContext) -> dict:
        good = inputs.conversations.path("conversations.jsonl").read_text()
        context.out.path("conversations.jsonl").write_text(good + "".join(bad_lines))
        return {}

    stage = Stage(name="trainer.spoil", config=StageConfig, output="questions", run=write)
    return run_stage(stage, StageConfig(), store=store)


def test_bad_conversations_are_quarantined(base: Artifact, inputs: Inputs, tmp_path: Path):
    conversations = spoiled(inputs, tmp_path, ["{broken\n", '{"id": "y", "messages": []}\n'])
    tuned = run_sft(base, conversations, tmp_path, workers=1, epochs=1)
    rejected = [json.loads(x) for x in tuned.path("rejected.jsonl").read_text().splitlines()]
    assert [item["line"] for item in rejected] == [61, 62]
    assert tuned.manifest.stats["in"]["rejected"] == 2


def test_too_many_bad_conversations_stop_the_stage(base: Artifact, inputs: Inputs, tmp_path: Path):
    conversations = spoiled(inputs, tmp_path, ["{broken\n"] * 20)
    with pytest.raises(TooManyBadConversations, match=r"20 of 80 .* line 61"):
        run_sft(base, conversations, tmp_path, workers=1)


def test_another_tokenizers_store_is_refused(inputs: Inputs, tmp_path: Path):
    def other(context: StageContext) -> dict:
        folder = context.out.path("tokenizer/tokenizer.json").parent
        shutil.copytree(inputs.tokenizer.path("tokenizer"), folder, dirs_exist_ok=True)
        with open(folder / "tokenizer.json", "a") as file:
            file.write("\n")
        return {}

    stage = Stage(name="trainer.other", config=StageConfig, output="tokenizer", run=other)
    tokenizer = run_stage(stage, StageConfig(), store=tmp_path)
    changed = Inputs(tokenizer, inputs.tokens, inputs.conversations)
    with pytest.raises(ConfigError, match=r"tokens were made with tokenizer .* tokenise again"):
        run_pretrain(changed, tmp_path, workers=1)


def test_a_store_whose_bytes_changed_is_refused(inputs: Inputs, tmp_path: Path):
    chance = random.Random()
    split = chance.choice(["train", "validation"])

    def damaged(context: StageContext) -> dict:
        folder = context.out.path("tokens/train/store.json").parents[1]
        shutil.copytree(inputs.tokens.path("tokens"), folder, dirs_exist_ok=True)
        (shard, *_) = sorted((folder / split).glob("*.tok"))
        spoilt = bytearray(shard.read_bytes())
        spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
        shard.write_bytes(spoilt)
        return {}

    stage = Stage(name="trainer.damaged", config=StageConfig, output="tokens", run=damaged)
    changed = Inputs(
        inputs.tokenizer, run_stage(stage, StageConfig(), store=tmp_path), inputs.conversations
    )
    with pytest.raises(ConfigError, match=rf"{split}/shard-\d+\.tok: blake3 .* tokenise again"):
        run_pretrain(changed, tmp_path, workers=1)


def test_one_run_at_a_time_trains_an_artifact(inputs: Inputs, tmp_path: Path):
    """The second would clear away the first one's unfinished checkpoints."""
    leaping = {
        "bad_steps": {"max_rise": 1e-6, "window": 1},
        "optimiser": {"lr": 3.0, "warmup_steps": 0},
        "steps": 30,
    }
    with pytest.raises(TrainingFailed, match="above the median"):
        run_pretrain(inputs, tmp_path, workers=1, **leaping)
    (state,) = tmp_path.glob("checkpoint/*/work/state")
    with only_driver(state), pytest.raises(StageError, match="another run trains") as caught:
        run_pretrain(inputs, tmp_path, workers=1, **leaping)
    assert str(state) in str(caught.value)
    with only_driver(state):  # given back
        pass


def test_a_model_that_cannot_be_written_is_said_and_written_later(
    inputs: Inputs, base: Artifact, tmp_path: Path
):
    """All steps are taken, then there is no room: nothing is trained a second time."""
    config = PretrainConfig.model_validate(pretrain_config(1))
    out = ArtifactWriter.begin(tmp_path, "checkpoint", "f" * 64)
    tokens, tokenizer = inputs.tokens.path("tokens"), inputs.tokenizer.path("tokenizer")
    job = Job(Pretraining(config, 11, tokens, tokenizer), 11, out, tmp_path / "timings.jsonl")
    out.path("model").write_text("in the way")
    said = r"finished model could not be written below .*the same command goes on"
    with pytest.raises(TrainingFailed, match=said):
        run_job(job, Progress(io.StringIO()))
    out.path("model").unlink()
    run_job(job, Progress(io.StringIO()))
    events = [json.loads(line) for line in job.timings.read_text().splitlines()]
    assert [e["step"] for e in events if e["event"] == "step"] == list(range(1, config.steps + 1))
    assert [e["step"] for e in events if e["event"] == "resumed"] == [config.steps]
    assert out.path("metrics.jsonl").read_text() == base.path("metrics.jsonl").read_text()


def test_rows_longer_than_the_model_are_refused(base: Artifact, inputs: Inputs, tmp_path: Path):
    with pytest.raises(ConfigError, match="row_length: 512 is more than the base's 256"):
        run_sft(base, inputs.conversations, tmp_path, workers=1, row_length=512)


@pytest.mark.parametrize(
    ("shared_by", "row_length", "message"),
    [
        (3, 255, "3 does not divide the base's attention heads 2"),
        (2, 255, "2 does not divide row_length 255"),
    ],
)
def test_tuning_whose_rows_cannot_be_shared_is_refused(
    base: Artifact, shared_by: int, row_length: int, message: str
):
    parallel = {"workers": shared_by, "sequence_parallel": shared_by}
    config = SftConfig.model_validate({"row_length": row_length, "parallel": parallel})
    with pytest.raises(ConfigError, match=rf"parallel\.sequence_parallel: {message}"):
        check_base(base.path("model"), config)
    alone = SftConfig.model_validate({"row_length": row_length, "parallel": {"workers": 1}})
    check_base(base.path("model"), alone)


def test_rows_longer_than_every_shard_are_refused(inputs: Inputs, tmp_path: Path):
    model = {**TINY_MODEL, "max_positions": 1 << 20}
    with pytest.raises(ConfigError, match=r"no shard holds the 1000001 tokens .* shorten the rows"):
        run_pretrain(inputs, tmp_path, workers=1, sequence_length=1_000_000, model=model)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"sequence_length": 2048}, "more than model.max_positions"),
        ({"batch": 1}, "cannot feed parallel.workers"),
        ({"model": {"num_heads": 7}}, "heads do not cut hidden_size"),
        ({"parallel": {"zero_stage": 0, "offload": True}}, "offload: with several workers for"),
        ({"model": {"num_kv_heads": 2}}, "does not divide num_heads"),
        (
            {"parallel": {"workers": 2, "sequence_parallel": 2}},
            r"sequence_parallel: 2 does not divide model\.num_heads 5; take a number",
        ),
        (
            {"parallel": {"workers": 5, "sequence_parallel": 5}},
            "sequence_parallel: 5 does not divide sequence_length 512; take a number",
        ),
    ],
)
def test_a_config_that_cannot_work_is_refused(config: dict, message: str):
    with pytest.raises(ValueError, match=message):
        PretrainConfig.model_validate(config)


def test_a_diverging_run_says_so_and_is_not_retried(inputs: Inputs, tmp_path: Path):
    optimiser = {"lr": 1e30, "warmup_steps": 0}
    with pytest.raises(TrainingFailed, match=r"lower optimiser\.lr"):
        run_pretrain(inputs, tmp_path, workers=1, optimiser=optimiser)


def test_workers_that_keep_failing_end_in_one_line(
    inputs: Inputs, tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch
):
    def fail(config: dict) -> None:
        raise OSError("no room\nleft on the disk")

    monkeypatch.setattr("trainer.workers._train_function", fail)
    parallel = {"workers": 2, "micro_batch": 2, "max_failures": 0}
    with pytest.raises(TrainingFailed, match=r"gave up after 0 .*OSError: no room; logs are in"):
        run_pretrain(inputs, tmp_path, workers=2, parallel=parallel)


def test_defaults_are_valid():
    assert PretrainConfig().parallel.workers == SftConfig().parallel.workers == 2


def test_progress_reaches_the_driver(
    inputs: Inputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run_pretrain(inputs, tmp_path, workers=1)
    shown = capsys.readouterr().err
    assert "8/8 steps" in shown
    assert "tokens/s" in shown
