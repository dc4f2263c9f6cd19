"""``inkstone serve bench`` against an endpoint that ``inkstone serve start`` serves on Ray."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SHARED, OWN, NEW, REQUESTS = 512, 8, 6, 12


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "serving", *map(str, arguments)]


@pytest.fixture(scope="module")
def wide_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.serving.conftest import make_model

    return make_model(tmp_path_factory.mktemp("wide"), max_position_embeddings=1024)


@pytest.mark.slow
def test_an_endpoint_on_ray_at_a_request_rate(wide_dir: Path, tmp_path: Path) -> None:
    """Counts, cache hits, percentiles and the picture, as a user gets them."""
    out, picture = tmp_path / "bench.json", tmp_path / "bench.svg"
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "INKSTONE_API_KEY": "sk-bench"}
    serving = subprocess.Popen(
        command("start", wide_dir, "--port", 0, "--slots", 4, "--json"),
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert serving.stdout is not None
        url = json.loads(serving.stdout.readline())["base_url"]
        asked = ["--requests", REQUESTS, "--rate", 20, "--prompt-tokens", OWN, "--new-tokens", NEW]
        asked += ["--shared-prefix", SHARED, "--json", out, "--plot", picture]
        done = subprocess.run(
            command("bench", url, *asked),
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
            env=environment,
        )
    finally:
        serving.terminate()
        serving.communicate(timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"{REQUESTS} of {REQUESTS} requests answered" in done.stdout
    check(json.loads(out.read_text()))
    drawn = picture.read_text()
    for words in ("time to first token", "between tokens", "new tokens per second"):
        assert f"<!-- {words} -->" in drawn


def check(result: dict[str, Any]) -> None:
    """Everything that must hold of the figures, whatever the machine."""
    summary = result["summary"]
    assert (summary["requests"], summary["failed"]) == (REQUESTS, 0)
    assert summary["prompt_tokens"] == REQUESTS * (SHARED + OWN)
    assert summary["new_tokens"] == REQUESTS * NEW
    # All but those that ran before the first had its prefix found it, by whole chunks of 256.
    assert result["cached_tokens"] % 256 == 0
    assert SHARED * (REQUESTS - 4) <= result["cached_tokens"] <= SHARED * REQUESTS
    for key in ("ttft_ms", "itl_ms", "latency_ms"):
        spread = summary[key]
        assert 0 < spread["p50"] <= spread["p90"] <= spread["p99"]
    assert summary["ttft_ms"]["p50"] < summary["latency_ms"]["p50"]
    tokens = summary["prompt_tokens"] + summary["new_tokens"]
    assert summary["tokens_per_second"] * summary["seconds"] == pytest.approx(tokens)
    assert summary["requests_per_second"] * summary["seconds"] == pytest.approx(REQUESTS)
