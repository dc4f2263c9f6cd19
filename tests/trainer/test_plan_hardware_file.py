import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from clusters.config import ConfigError
from trainer.plan.cli import add_plan
from trainer.plan.hardware import find_cluster
from trainer.plan.hardware_file import read_cluster

LIKE_A100 = """
memory_gib: 80
peak_tflops: 312
memory_gb_s: 2040
link_gb_s: 300
efficiency: 0.66
node_gbit_s: 400
"""


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.callback()(lambda: None)
    add_plan(app)
    return app


def planned(app: typer.Typer, *arguments: str) -> dict:
    command = ["plan", "--model", "7b", "--gpus", "8,64", "--json", *arguments]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_a_file_of_a_presets_figures_gives_its_plan(app: typer.Typer, tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(LIKE_A100)
    own, preset = planned(app, "--hardware", str(path)), planned(app, "--hardware", "a100-80g")
    assert own["hardware"].pop("gpu") == "ours"
    assert preset["hardware"].pop("gpu") == "a100-80g"
    for ours, theirs in zip(own["plans"], preset["plans"], strict=True):
        assert ours["layout"] == theirs["layout"]
        assert ours["step_seconds"] == pytest.approx(theirs["step_seconds"], rel=1e-9)


def test_options_replace_what_the_file_says(app: typer.Typer, tmp_path: Path) -> None:
    path = tmp_path / "ours.yml"
    path.write_text(LIKE_A100)
    slow = planned(app, "--hardware", str(path), "--node-gbit-s", "25", "--gpus-per-node", "4")
    fast = planned(app, "--hardware", str(path))
    assert slow["hardware"]["gpus_per_node"] == 4
    assert slow["plans"][1]["scaling_efficiency"] < fast["plans"][1]["scaling_efficiency"]


def test_main_memory_is_the_preset_kinds_unless_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(LIKE_A100)
    preset = find_cluster("a100-80g")
    assert read_cluster(path).host_memory == pytest.approx(preset.host_memory)
    assert read_cluster(path).host_link == pytest.approx(preset.host_link)
    path.write_text(LIKE_A100 + "host_memory_gib: 0\n")
    assert read_cluster(path).host_memory == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LIKE_A100.replace("node_gbit_s: 400", ""), "node_gbit_s: missing"),
        (LIKE_A100 + "memory_gb: 80", "memory_gb: unknown key .did you mean"),
        (LIKE_A100.replace("312", "fast"), "peak_tflops: .*'fast'"),
        (LIKE_A100.replace("312", "-1"), "peak_tflops: .*greater than 0"),
        (LIKE_A100.replace("2040", ".inf"), "memory_gb_s: .*finite"),
        (LIKE_A100.replace("2040", ".nan"), "memory_gb_s: .*"),
        (LIKE_A100.replace("0.66", "66"), "efficiency: .*less than or equal to 1"),
        ("just words", "expected keys and values"),
        ("", "expected keys and values"),
        ("a: [1", "no YAML"),
    ],
)
def test_a_wrong_file_is_explained_by_key(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"(?s)wrong.yaml.*{said}"):
        read_cluster(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: unreadable"):
        read_cluster(tmp_path / "none.yaml")
