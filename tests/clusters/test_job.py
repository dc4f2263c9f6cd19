"""A recipe submitted as a Ray job to a real cluster on this machine."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters import runs
from clusters.show import verify
from tests.corpus.builder import sentences

RECIPE = """\
name: small
stages:
  corpus:
    stage: corpus.build
    config:
      sources: [{format: text, path: TEXTS, source: texts}]
      value: {classifiers: []}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    folder = tmp_path_factory.mktemp("ray")
    command = [
        str(Path(sys.executable).with_name("ray")),
        *("start", "--head", "--block", "--num-cpus=2", f"--port={free_port()}"),
        f"--dashboard-agent-listen-port={free_port()}",
        f"--ray-client-server-port={free_port()}",
        *("--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}"),
        *("--object-store-memory=100000000", "--disable-usage-stats"),
        f"--temp-dir={folder}",
    ]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # a job runs `python`
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "PATH": path}
    head = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/api/version")
        yield address
    finally:
        head.send_signal(signal.SIGINT)  # SIGTERM would drain the node for half a minute
        head.wait(300)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(url: str, seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(5):
        (texts / f"{number}.txt").write_text("\n".join(sentences(random.Random(number), 20)))
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE.replace("TEXTS", str(texts)))
    return path


@pytest.mark.slow
def test_a_submitted_run_leaves_the_same_as_a_local_one(
    dashboard: str, recipe: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "inkstone", "run", str(recipe), "--set"]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    job = [*command, f"runs={tmp_path / 'j'}", "--set", f"store={tmp_path / 'js'}", "--on", "job"]
    done = subprocess.run(
        [*job, "--address", dashboard], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    record = runs.load(tmp_path / "j" / "small")
    assert record.job
    assert verify(tmp_path / "j" / "small") == []
    here = [*command, f"runs={tmp_path / 'l'}", "--set", f"store={tmp_path / 'ls'}"]
    done = subprocess.run(here, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    local = runs.load(tmp_path / "l" / "small")
    assert local.stages["corpus"].digest == record.stages["corpus"].digest


@pytest.mark.slow
def test_a_job_that_fails_exits_1(dashboard: str, recipe: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "inkstone", "run", str(recipe), "--on", "job"]
    command += ["--address", dashboard, "--set", "corpus.language.keep=[zh]"]
    command += ["--set", f"store={tmp_path / 's'}", "--set", f"runs={tmp_path / 'r'}"]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "empty" in done.stderr or "no document" in done.stderr


def test_nobody_at_the_address_is_said(recipe: Path) -> None:
    command = [sys.executable, "-m", "inkstone", "run", str(recipe), "--on", "job"]
    command += ["--address", f"http://127.0.0.1:{free_port()}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no Ray dashboard answers there" in done.stderr
