"""``inkstone serve bench`` as a user runs it: over a real engine and a real endpoint."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clusters.config import ConfigError
from contracts.manifest import hash_bytes
from serving.bench.command import Load, run_bench
from serving.bench.lengths import Lengths
from serving.cli import app
from serving.http.service import Service
from serving.load import load_engine
from serving.settings import EngineSettings
from serving.tokenizer import ChatTokenizer
from tests.serving.http.conftest import KEY, listening


@pytest.fixture(scope="module")
def url(model_dir: Path) -> Iterator[str]:
    engine = load_engine(model_dir, slots=4)
    tokenizer = ChatTokenizer.load(model_dir)
    service = Service(engine, tokenizer, "tiny", key_hash=hash_bytes(KEY.encode()))
    with listening(service) as base:
        yield base
    engine.close()


def bench(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["bench", *map(str, arguments)], catch_exceptions=False)


def test_a_model_in_this_process(model_dir: Path, tmp_path: Path) -> None:
    out, picture = tmp_path / "bench.json", tmp_path / "bench.svg"
    done = bench(
        model_dir, "--requests", 9, "--slots", 3, "--prompt-tokens", "uniform:5:20",
        "--new-tokens", "lognormal:6:0.4", "--shared-prefix", 64, "--no-reproducible",
        "--seed", 3, "--json", out, "--plot", picture,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "9 of 9 requests answered" in done.output
    assert "of the memory roof" in done.output
    result = json.loads(out.read_text())
    summary = result["summary"]
    assert summary["failed"] == 0
    assert summary["prompt_tokens"] >= 9 * 69
    # All but those that ran before the first prefix was known found its two whole blocks.
    assert 64 * 6 <= result["cached_tokens"] <= 64 * 9
    assert 0 < summary["ttft_ms"]["p50"] <= summary["ttft_ms"]["p99"]
    assert 0 < result["roofline"]["share"] < 1
    assert result["roofline"]["rows_per_step"] <= 3
    assert picture.read_text().startswith("<?xml")


def test_the_same_seed_asks_the_same(model_dir: Path) -> None:
    load = Load(5, Lengths("uniform", 3, 30), Lengths("uniform", 1, 9), concurrency=2, seed=11)
    totals = []
    for _ in range(2):
        result, records = run_bench(str(model_dir), load, EngineSettings(slots=2), None)
        summary = result["summary"]
        totals.append((summary["prompt_tokens"], summary["new_tokens"]))
        assert all(record.error is None for record in records)
    assert totals[0] == totals[1]


def test_requests_arrive_at_the_rate(model_dir: Path) -> None:
    load = Load(12, Lengths("fixed", 4), Lengths("fixed", 2), rate=40.0, seed=1)
    _, records = run_bench(str(model_dir), load, EngineSettings(slots=12), None)
    dues = [record.due for record in records]
    assert dues == sorted(dues)
    assert dues[-1] > 0.1
    assert all(record.arrivals[0][0] >= record.due for record in records)


def test_an_endpoint(url: str, model_dir: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    rows = [{"prompt": "the lazy dog", "max_tokens": 5}, {"prompt": [7, 8, 9]}]
    prompts.write_text("\n".join(map(json.dumps, rows)) + "\n")
    done = bench(
        url, "--api-key", KEY, "--requests", 4, "--concurrency", 2, "--prompts", prompts,
        "--new-tokens", 3, "--json", "-",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["summary"]["new_tokens"] == 2 * 5 + 2 * 3
    assert result["engine"] is None
    assert result["roofline"] is None
    words = len(ChatTokenizer.load(model_dir).encode("the lazy dog"))
    assert result["summary"]["prompt_tokens"] == 2 * words + 2 * 3


def test_random_prompts_fit_an_endpoint_of_unknown_vocabulary(url: str) -> None:
    load = Load(3, Lengths("fixed", 12), Lengths("fixed", 4), rate=50.0)
    result, _ = run_bench(url, load, EngineSettings(), KEY)
    assert result["summary"]["prompt_tokens"] == 36
    assert result["summary"]["new_tokens"] == 12


def test_refusals_are_counted_and_said(model_dir: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": [1, 2]}\n{"prompt": [1000000]}\n')
    load = Load(4, Lengths("fixed", 1), Lengths("fixed", 2), file=prompts)
    result, _ = run_bench(str(model_dir), load, EngineSettings(slots=2), None)
    assert result["summary"]["failed"] == 2
    assert "1000000" in result["summary"]["first_error"]
    prompts.write_text('{"prompt": [1000000]}\n')
    with pytest.raises(ConfigError, match="no request was answered"):
        run_bench(str(model_dir), load, EngineSettings(slots=2), None)


def test_says_what_is_wrong(url: str, model_dir: Path, tmp_path: Path) -> None:
    load = Load(1, Lengths("fixed", 4), Lengths("fixed", 2))
    with pytest.raises(ConfigError, match="its key"):
        run_bench(url, load, EngineSettings(), "wrong")
    with pytest.raises(ConfigError, match="is it an endpoint"):
        run_bench("http://127.0.0.1:9", load, EngineSettings(), None)
    bad = tmp_path / "bad.jsonl"
    wrong = {
        "{": "bad.jsonl:1: no JSON",
        '{"prompt": 3}': "bad.jsonl:1: ",
        '{"prompt": "x", "max_tokens": 0}': "max_tokens",
        "": "no line",
    }
    for line, says in wrong.items():
        bad.write_text(line + "\n")
        asked = Load(1, load.prompts, load.new, file=bad)
        with pytest.raises(ConfigError, match=says):
            run_bench(str(model_dir), asked, EngineSettings(), None)
