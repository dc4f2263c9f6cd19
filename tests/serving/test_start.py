"""``inkstone serve start`` and ``chat`` as a user runs them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from openai import OpenAI
from typer.testing import CliRunner

from clusters.artifact import ArtifactError
from clusters.config import ConfigError
from serving.cli import app
from serving.directory import ModelError
from serving.load import load_engine, load_model
from serving.resolve import resolve_model


def serving(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "serving", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def started(model_dir: Path) -> Iterator[tuple[subprocess.Popen[str], dict]]:
    process = serving("start", str(model_dir), "--port", "0", "--name", "tiny", "--json")
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def test_start_answers_refuses_a_taken_port_and_ends_on_sigterm(
    started: tuple[subprocess.Popen[str], dict], model_dir: Path
) -> None:
    process, said = started
    with OpenAI(base_url=said["base_url"], api_key=said["api_key"]) as client:
        reply = client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "hi"}], max_tokens=3
        )
        assert reply.usage.completion_tokens == 3
    port = said["base_url"].split(":")[2].split("/")[0]
    second = subprocess.run(
        [sys.executable, "-m", "serving", "start", str(model_dir), "--port", port],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert second.returncode == 2
    assert f"port {port}" in second.stderr
    assert "Traceback" not in second.stderr
    talking = CliRunner().invoke(
        app,
        ["chat", said["base_url"], "--api-key", said["api_key"], "--max-tokens", "4"],
        input="hello\n/reset\nagain\n/exit\n",
    )
    assert talking.exit_code == 0
    assert talking.stdout.count("\n") >= 2
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(300) == 0
    assert "stopped" in process.stderr.read()
    _, alive = psutil.wait_procs(children, timeout=200)
    assert not alive


STARTED_AND_STOPPED = """
import contextlib
import psutil
from clusters.connect import ClusterConfig, connect
from serving.proxy import proxy

def serves() -> list:
    found = []
    for p in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            if "ray::Serve" in "".join(p.cmdline()) or "Proxy" in p.name():
                found.append(p)
    return found

with connect("embedded", ClusterConfig(num_cpus=1, object_store_bytes=100 << 20)):
    for _ in range(3):
        with proxy("127.0.0.1", 0):
            started = serves()
            assert len(started) >= 2, started
        _, alive = psutil.wait_procs(started, timeout=200)
        assert not alive, alive
"""


def test_stopping_serve_is_silent_and_leaves_no_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARTED_AND_STOPPED],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert done.returncode == 0, done.stderr
    assert "graceful_shutdown" not in done.stdout + done.stderr


def test_chat_with_a_model_in_this_process(model_dir: Path) -> None:
    arguments = ["chat", str(model_dir), "--max-tokens", "5"]
    first = CliRunner().invoke(app, arguments, input="hello\n")
    assert first.exit_code == 0
    assert first.stdout.strip()
    assert CliRunner().invoke(app, arguments, input="hello\n").stdout == first.stdout
    long = CliRunner().invoke(app, arguments, input="word " * 200 + "\nhello\n")
    assert "context" in long.stderr
    assert long.stdout == first.stdout


def test_chat_says_where_nothing_answers() -> None:
    result = CliRunner().invoke(app, ["chat", "http://127.0.0.1:9/v1"])
    assert isinstance(result.exception, ConfigError)
    assert "127.0.0.1:9" in str(result.exception)


def test_models_are_found_where_users_name_them(model_dir: Path, tmp_path: Path) -> None:
    assert resolve_model(str(model_dir)) == model_dir
    nested = tmp_path / "attempt"
    nested.mkdir()
    (nested / "model").symlink_to(model_dir)
    (tmp_path / "link").symlink_to(nested)
    assert resolve_model(str(tmp_path / "link")) == model_dir
    with pytest.raises(ConfigError, match="no such folder"):
        resolve_model(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"no config\.json"):
        resolve_model(str(tmp_path))
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError, match="manifest"):
        resolve_model(str(tmp_path))


def copy(model: Path, target: Path) -> Path:
    for file in model.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_damaged_models_are_named(model_dir: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    with pytest.raises(ModelError, match=r"no config\.json"):
        load_engine(tmp_path)
    broken = copy(model_dir, tmp_path)
    weights = broken / "model.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, "model.extra": tensors["model.norm.weight"].clone()}, weights)
    with pytest.raises(ModelError, match=r"model\.extra"):
        load_model(broken)
    lacking = dict(tensors)
    del lacking["model.layers.1.mlp.up_proj.weight"]
    save_file(lacking, weights)
    with pytest.raises(ModelError, match=r"1 weights are missing.*up_proj"):
        load_model(broken)
    save_file({**tensors, "model.norm.weight": tensors["model.norm.weight"][:5].clone()}, weights)
    with pytest.raises(ModelError, match="shape"):
        load_model(broken)
    weights.unlink()
    with pytest.raises(ModelError, match="safetensors"):
        load_model(broken)
    (broken / "config.json").write_text('{"model_type": "bloom", "n_layer": 1}')
    with pytest.raises(ModelError, match="bloom"):
        load_model(broken)
    (broken / "config.json").write_text("{")
    with pytest.raises(ModelError, match="unreadable"):
        load_engine(broken)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "mistral", "sliding_window": 64}, "sliding-window"),
        ({"attn_logit_softcapping": 50.0}, "capped"),
    ],
)
def test_unsupported_attention_is_refused(
    model_dir: Path, tmp_path: Path, changes: dict, says: str
) -> None:
    odd = copy(model_dir, tmp_path)
    config = json.loads((odd / "config.json").read_text())
    (odd / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(ModelError, match=says):
        load_model(odd)


def test_core_imports_without_ray() -> None:
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "import serving.load, serving.engine.engine, serving.quant.files, serving.http.openai\n"
        "import serving.client, serving.testing, serving.stages, serving.cli, serving.tokenizer\n"
        "assert not any(m.startswith('ray.') for m in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=500)
