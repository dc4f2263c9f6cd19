import json

import pytest
import typer
from typer.testing import CliRunner

from clusters.config import ConfigError
from trainer.plan.cli import add_plan
from trainer.plan.hardware import find_cluster
from trainer.plan.model import find_shape
from trainer.plan.search import Choice, Question, Refusal, layouts, plan, timed


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.callback()(lambda: None)
    add_plan(app)
    return app


def ask(model="7b", hardware="a100-80g", length=4096, batch=None, **cluster) -> Question:
    return Question(find_shape(model), find_cluster(hardware, **cluster), length, batch)


@pytest.mark.parametrize("gpus", [1, 2, 8, 24, 64])
def test_every_layout_uses_the_gpus_and_the_batch_once(gpus):
    question = ask("1.8b")
    for layout in layouts(question, gpus):
        assert layout.replicas * layout.tensor * layout.sequence == gpus
        trained = layout.replicas * layout.micro_sequences * layout.accumulation
        assert trained >= question.sequences(gpus)
        assert layout.data_ranks % layout.shard_group == 0


@pytest.mark.parametrize(("model", "gpus"), [("1.8b", 8), ("7b", 8), ("7b", 64), ("20b", 64)])
def test_the_choice_fits_and_is_near_the_fastest_that_does(model, gpus):
    question = ask(model)
    choice = plan(question, gpus)
    assert isinstance(choice, Choice)
    room = question.cluster.gpu.memory
    assert choice.ledger.total <= room
    fitting = [timed(question, layout) for layout in layouts(question, gpus)]
    fastest = max(one.tokens for one in fitting if one.ledger.total <= room)
    assert choice.tokens >= 0.99 * fastest
    assert 0.3 < choice.mfu < 0.65


def test_less_memory_is_met_by_sharding_and_recompute():
    roomy = plan(ask("7b", "h200"), 8)
    tight = plan(ask("7b", "a100-40g"), 8)
    assert isinstance(roomy, Choice)
    assert isinstance(tight, Choice)
    assert tight.ledger.total < roomy.ledger.total
    assert tight.layout.recompute != "none"


def test_what_cannot_fit_is_refused_with_what_would():
    refusal = plan(ask("70b"), 2)
    assert isinstance(refusal, Refusal)
    assert "GiB per GPU" in refusal.reason
    more = [text for text in refusal.remedies if text.startswith("--gpus ")]
    assert more
    assert isinstance(plan(ask("70b"), int(more[0].split()[1])), Choice)


def test_one_gpu_offloads_what_it_cannot_hold():
    choice = plan(ask("7b"), 1)
    assert isinstance(choice, Choice)
    assert choice.layout.offload
    assert choice.ledger.host == 12 * choice.question.shape.parameters


def test_other_remedies_hold_too():
    question = ask("7b", "v100-16g", length=32768, batch=8)
    refusal = plan(question, 1)
    assert isinstance(refusal, Refusal)
    assert len(refusal.remedies) >= 2
    for remedy in refusal.remedies:
        flag, value = remedy.split()
        if flag == "--hardware":
            assert isinstance(plan(ask("7b", value, 32768, 8), 1), Choice)
        if flag == "--sequence-length":
            assert isinstance(plan(ask("7b", "v100-16g", int(value), 8), 1), Choice)


def test_long_sequences_are_split():
    choice = plan(ask("7b", "h100", length=131072, batch=8), 64)
    assert isinstance(choice, Choice)
    assert choice.layout.tensor * choice.layout.sequence > 1


def test_a_batch_smaller_than_the_ranks_is_split_or_refused():
    assert isinstance(plan(ask("1.8b", batch=4), 8), Choice)
    refusal = plan(ask("1.8b", batch=4), 512)
    assert isinstance(refusal, Refusal)
    assert "batch of 4" in refusal.reason
    remedy = refusal.remedies[0]
    batch = int(remedy.removeprefix("--global-batch "))
    assert isinstance(plan(ask("1.8b", batch=batch), 512), Choice)
    assert isinstance(plan(ask("1.8b", batch=batch // 2), 512), Refusal)


def test_json_of_the_command(app):
    result = CliRunner().invoke(app, ["plan", "--model", "7b", "--gpus", "8,64,1024", "--json"])
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert [one["gpus"] for one in report["plans"]] == [8, 64, 1024]
    efficiency = [one["scaling_efficiency"] for one in report["plans"]]
    assert efficiency[0] == 1
    assert efficiency == sorted(efficiency, reverse=True)
    for one in report["plans"]:
        parts = {key: one["memory"][key] for key in one["memory"] if key not in ("total", "host")}
        assert sum(parts.values()) == pytest.approx(one["memory"]["total"])
        rate = one["global_batch"] * 4096 / one["gpus"] / one["step_seconds"]["total"]
        assert one["tokens_per_gpu_per_second"] == pytest.approx(rate)
        flops = one["tokens_per_gpu_per_second"] * report["flops_per_token"]
        assert one["mfu"] == pytest.approx(flops / 312e12)


def test_tables_plot_and_refusal_of_the_command(app, tmp_path):
    plot = tmp_path / "plan.svg"
    arguments = ["plan", "--model", "70b", "--gpus", "2,64", "--plot", str(plot)]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})
    assert result.exit_code == 1
    assert "tokens/s/GPU" in result.stdout
    assert "does not fit" in result.stdout
    first = plot.read_bytes()
    assert first.startswith(b"<?xml")
    CliRunner().invoke(app, arguments)
    assert plot.read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--gpus", "8,x"], "--gpus"), (["--gpus", "0"], "--gpus"), (["--hardware", "h10"], "h100"),
     (["--efficiency", "2"], "--efficiency"), (["--node-gbit-s", "0"], "--node-gbit-s"),
     (["--node-gbit-s", "nan"], "--node-gbit-s"), (["--node-gbit-s", "inf"], "--node-gbit-s"),
     (["--model", "nope"], "presets"), (["--plot", "x.nonsense", "--gpus", "8"], "--plot")],
)  # fmt: skip
def test_wrong_arguments_are_named(app, arguments, said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["plan", *arguments])
    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)
