import csv
import json
import os
import random
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from clusters.config import ConfigError
from trainer.plan.assume import micro_sequences, row_layout
from trainer.plan.cli import add_plan
from trainer.plan.communication import Constants
from trainer.plan.hardware import find_cluster
from trainer.plan.layout import Layout
from trainer.plan.table import COLUMNS, Row, read_table
from trainer.plan.throughput import Job
from trainer.plan.validate import computing_of, validate

FOUNDRY = Path(__file__).parents[2] / "benchmarks" / "trainer" / "scaling_llm_foundry.csv"
RATE = 4.0 / 16384
"""Seconds of kernels per token in the synthetic tables."""


def row(group="g", use="predict", gpus=8, shard="all", speed=1000.0, **other) -> dict:
    return {
        "source": "made", "group": group, "use": use, "model": "some-7b", "parameters": 7e9,
        "layers": 32, "hidden": 4096, "seq_len": 2048, "gpu": "a100-80g", "gpus_per_node": 8,
        "node_bandwidth_gbit_s": 400, "tensor_parallel": 1, "optimizer_shard": shard,
        "recompute": "none", "tokens_per_gpu_per_step": 16384, "gpus": gpus,
        "tokens_per_gpu_per_second": speed, **other,
    }  # fmt: skip


def write(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def model_speed(one: Row, micro: int, constants: Constants) -> float:
    """Tokens per GPU per second that the model itself gives a row."""
    job = Job(one.parameters, one.layers, row_layout(one, micro), one.cluster, constants)
    return one.step_tokens / job.step(RATE * one.step_tokens).total


def made_table(path: Path, truth: Constants, noise: float = 0.0, seed: int = 0) -> Path:
    """A table that a cluster with these constants would have given."""
    rng = random.Random(seed)
    rows = []
    for shard in ("all", "8", "fsdp"):
        for gpus in (8, 16, 64, 256, 1024):
            use = "calibrate" if gpus == 8 else "fit" if shard == "all" else "predict"
            tokens = 16384 if gpus < 1024 or shard != "fsdp" else 8192
            rows.append(row(shard, use, gpus, shard, tokens_per_gpu_per_step=tokens))
    read = read_table(write(path, rows)).rows
    micro = {one.key: micro_sequences(one) for one in read if one.use == "calibrate"}
    for cells, one in zip(rows, read, strict=True):
        speed = model_speed(one, micro[one.key], truth) * (1 + rng.gauss(0, noise))
        cells["tokens_per_gpu_per_second"] = speed
    return write(path, rows)


def test_constants_behind_a_table_are_found_again(tmp_path):
    truth = Constants(hop=1.2e-5, network_share=0.6)
    report = validate(made_table(tmp_path / "made.csv", truth))
    used = report["constants"][0]
    assert used["fitted"]
    assert used["hop_us"] == pytest.approx(12, rel=0.1)
    assert used["network_share"] == pytest.approx(0.6, rel=0.1)
    assert report["max_error"] < 0.02
    assert report["without_fitted_constants"]["max_error"] > 5 * report["max_error"]


def test_noise_in_the_fit_rows_moves_the_constants_little(tmp_path):
    truth = Constants(hop=1.2e-5, network_share=0.6)
    for seed in range(3):
        report = validate(made_table(tmp_path / "made.csv", truth, noise=0.02, seed=seed))
        assert report["constants"][0]["hop_us"] == pytest.approx(12, rel=0.4)
        assert report["mean_error"] < 0.04


def test_without_fit_rows_the_defaults_are_used(tmp_path):
    table = write(tmp_path / "t.csv", [row(use="calibrate"), row(gpus=64, speed=900)])
    report = validate(table)
    assert not report["constants"][0]["fitted"]
    assert report["rows"] == report["without_fitted_constants"]["rows"]


def test_predict_rows_teach_nothing(tmp_path):
    truth = Constants(hop=1.2e-5)
    table = made_table(tmp_path / "made.csv", truth)
    before = validate(table)
    rows = list(csv.DictReader(table.open()))
    for one in rows:
        if one["use"] == "predict":
            one["tokens_per_gpu_per_second"] = float(one["tokens_per_gpu_per_second"]) * 0.7
    after = validate(write(table, rows))
    assert after["constants"] == before["constants"]
    assert [r["predicted"] for r in after["rows"]] == [r["predicted"] for r in before["rows"]]


def test_calibration_returns_what_was_measured(tmp_path):
    for shard in ("all", "8", "fsdp", "ddp"):
        for gpus in (8, 64):
            table = write(tmp_path / "t.csv", [row(use="calibrate", gpus=gpus, shard=shard)])
            report = validate(table)
            assert report["rows"][0]["error"] == pytest.approx(0, abs=1e-6)
            assert report["mean_error"] is None


def test_a_calibration_row_that_is_missed_is_named(tmp_path):
    """Two in a group, one of them three times as fast: no pace of the kernels fits both."""
    rows = [row(use="calibrate"), row(use="calibrate", speed=3000), row(gpus=64, speed=900)]
    table = write(tmp_path / "t.csv", rows)
    report = validate(table)
    missed = [r["line"] for r in report["rows"][:2] if abs(r["error"]) > 0.25]
    assert missed
    said = [w for w in report["warnings"] if "itself missed by" in w]
    assert [w.split(": ")[0] for w in said] == [f"{table}:{line}" for line in missed]
    assert not validate(write(table, [rows[0], rows[2]]))["warnings"]


def test_computing_is_the_inverse_of_step():
    rng = random.Random(3)
    for _ in range(20):
        layout = Layout(8 * 2 ** rng.randint(0, 6), 1, 8, 2, rng.randint(1, 4))
        job = Job(7e9, 32, layout, find_cluster("a100-80g"), Constants())
        computing = rng.uniform(0.5, 10)
        assert computing_of(job, job.step(computing).total) == pytest.approx(computing, rel=1e-6)


@pytest.mark.parametrize("shard", ["all", "8", "fsdp", "ddp"])
def test_every_layout_scales_down_gently(tmp_path, shard):
    rows = [row(use="calibrate", shard=shard, speed=4000)]
    rows += [row(gpus=gpus, shard=shard) for gpus in (16, 64, 256, 1024)]
    predicted = [one["predicted"] for one in validate(write(tmp_path / "t.csv", rows))["rows"]]
    assert predicted == sorted(predicted, reverse=True)
    assert predicted[-1] > 0.4 * predicted[0]


def test_smaller_steps_show_more_of_the_network(tmp_path):
    rows = [row(use="calibrate", shard="8", speed=4000)]
    rows += [row(gpus=512, shard="8", tokens_per_gpu_per_step=tokens) for tokens in (16384, 4096)]
    large, small = (
        one["predicted"] for one in validate(write(tmp_path / "t.csv", rows))["rows"][1:]
    )
    assert small < large


def test_an_unknown_gpu_is_said_and_still_predicted(tmp_path):
    table = write(tmp_path / "t.csv", [row(use="calibrate", gpu="abacus"), row(gpu="abacus")])
    report = validate(table)
    assert "abacus" in report["warnings"][0]
    assert report["mean_error"] == pytest.approx(0, abs=1e-6)


BROKEN = [
    ({"optimizer_shard": "zero9"}, "optimizer_shard: unknown layout 'zero9'"),
    ({"recompute": "some"}, "recompute: unknown 'some'"),
    ({"use": "guess"}, "use: unknown 'guess'"),
    ({"gpus": "eight"}, "gpus: expected a number above 0, got 'eight'"),
    ({"gpus": "8.5"}, "gpus: expected a whole number"),
    ({"tokens_per_gpu_per_second": "0"}, "tokens_per_gpu_per_second: expected a number above 0"),
    ({"tokens_per_gpu_per_second": "nan"}, "tokens_per_gpu_per_second: expected a number above"),
    ({"model": ""}, "model: empty"),
    ({"tensor_parallel": "3"}, "tensor_parallel: 3 does not divide 8 gpus"),
    ({"optimizer_shard": "16"}, "optimizer_shard: 16 does not divide 8 data ranks"),
    ({"group": "lonely", "gpu": "abacus"}, "gpu: 'abacus' is not known, and group 'lonely'"),
    ({"parameters": "7B"}, "parameters: expected a number above 0, got '7B'; write it without"),
    ({"tokens_per_gpu_per_step": "16,384"}, "tokens_per_gpu_per_step: expected a number above 0"),
    ({"optimizer_shard": "²"}, "optimizer_shard: unknown layout '²'"),
]


@pytest.mark.parametrize(("change", "said"), BROKEN)
def test_a_bad_cell_is_named_by_file_line_and_column(tmp_path, change, said):
    table = write(tmp_path / "t.csv", [row(use="calibrate"), {**row(), **change}])
    with pytest.raises(ConfigError) as caught:
        read_table(table)
    assert f"{table}:3: {said}" in str(caught.value)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_column_is_named(tmp_path, column):
    bare = {key: value for key, value in row().items() if key != column}
    table = write(tmp_path / "t.csv", [bare])
    with pytest.raises(ConfigError, match=f"t.csv:1: missing column {column}$"):
        read_table(table)


def test_order_case_comments_blanks_and_unused_columns_do_not_matter(tmp_path):
    rows = [row(use="Calibrate", speed=4000), row(gpus=64, shard="ALL", recompute="None")]
    plain = validate(write(tmp_path / "plain.csv", rows))
    turned = [
        {"note": "ours, too", **dict(reversed(one.items())), "pipeline_parallel": 1} for one in rows
    ]
    lines = write(tmp_path / "t.csv", turned).read_text().splitlines()
    lines[0] = lines[0].upper().replace(",", " , ")
    text = "\r\n".join(["# published", lines[0], "", *lines[1:], "," * 18, ""])
    (tmp_path / "t.csv").write_text("\ufeff" + text, encoding="utf-8")
    found = validate(tmp_path / "t.csv")
    assert [one["predicted"] for one in found["rows"]] == [
        one["predicted"] for one in plain["rows"]
    ]
    assert [one["line"] for one in found["rows"]] == [4, 5]
    assert found["warnings"] == ["columns that say nothing to the plan: note, pipeline_parallel"]


def test_a_group_without_calibration_is_predicted_from_its_hardware(tmp_path):
    """InternEvo's published 7B run on 8 A100 within 5 %, and scaled as a calibrated group is."""
    rows = [row(gpus=8, speed=4062, parameters=7.3e9), row(gpus=64, speed=3690, parameters=7.3e9)]
    report = validate(write(tmp_path / "t.csv", rows))
    assert "no `calibrate` row" in report["warnings"][0]
    errors = [one["error"] for one in report["rows"]]
    assert abs(errors[0]) < 0.05
    calibrated = validate(write(tmp_path / "t.csv", [{**rows[0], "use": "calibrate"}, rows[1]]))
    assert errors[1] == pytest.approx(calibrated["rows"][1]["error"], abs=0.05)


def test_longer_sequences_take_longer(tmp_path):
    """One node, the same tokens per step: llm-foundry's published 7B on 8 A100, 512 to 32,768."""
    published = {2048: 3824, 512: 4099, 4096: 3496, 8192: 2985, 16384: 2337, 32768: 1629}
    rows = [
        row("7b", "calibrate" if length == 2048 else "predict", shard="fsdp", recompute="full",
            seq_len=length, tokens_per_gpu_per_step=131072, speed=speed, parameters=6.66e9)
        for length, speed in published.items()
    ]  # fmt: skip
    report = validate(write(tmp_path / "t.csv", rows))
    assert report["max_error"] < 0.12


def test_cells_and_columns_that_do_not_match_are_refused(tmp_path):
    table = write(tmp_path / "t.csv", [row(use="calibrate")])
    header, line = table.read_text().splitlines()
    for text, said in (
        (f"{header}\n{line},more\n", "t.csv:2: 18 cells in 17 columns"),
        (f"{header}\n{line.rsplit(',', 1)[0]}\n", "t.csv:2: tokens_per_gpu_per_second: empty"),
        (f"{header},gpus\n{line},8\n", "t.csv:1: column gpus is there twice"),
        (header.replace(",", ";") + "\n", "columns are separated by commas"),
        ("", "t.csv:1: missing column source"),
    ):
        table.write_text(text)
        with pytest.raises(ConfigError, match=re.escape(said)):
            read_table(table)


def test_files_that_are_no_table_are_refused(tmp_path):
    binary = tmp_path / "b.csv"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    empty = tmp_path / "e.csv"
    empty.write_text(",".join(COLUMNS) + "\n")
    for path, said in (
        (tmp_path / "none.csv", "cannot be read"),
        (binary, "UTF-8"),
        (empty, "no rows"),
    ):
        with pytest.raises(ConfigError, match=said):
            read_table(path)


def test_json_of_the_command(tmp_path):
    app = typer.Typer()
    app.callback()(lambda: None)
    add_plan(app)
    table = made_table(tmp_path / "made.csv", Constants())
    result = CliRunner().invoke(app, ["plan", "--validate", str(table), "--json"])
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    for part in (report, report["without_fitted_constants"]):
        errors = [abs(one["error"]) for one in part["rows"] if one["use"] == "predict"]
        assert part["mean_error"] == pytest.approx(sum(errors) / len(errors), abs=1e-4)
        assert part["max_error"] == pytest.approx(max(errors), abs=1e-4)
        assert len(part["rows"]) == 15
    assert "mean error" in CliRunner().invoke(app, ["plan", "--validate", str(table)]).stdout


def test_llm_foundrys_runs_are_predicted_from_the_hardware_alone():
    report = validate(FOUNDRY)
    assert not any(used["fitted"] for used in report["constants"])
    assert report["mean_error"] <= 0.02
    assert report["max_error"] <= 0.06


@pytest.mark.skipif("INKSTONE_PUBLISHED" not in os.environ, reason="no INKSTONE_PUBLISHED")
def test_internevos_runs_are_predicted():
    table = Path(os.environ["INKSTONE_PUBLISHED"]) / "scaling_internevo.csv"
    report = validate(table)
    assert report["mean_error"] <= 0.02
    assert report["max_error"] <= 0.06
    assert report["without_fitted_constants"]["max_error"] <= 0.06
