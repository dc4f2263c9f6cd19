"""What is no finite number, in files that must stay JSON."""

import json
from pathlib import Path
from typing import NoReturn

import pytest

from clusters.stage import StageError
from trainer import trace_cli
from trainer.metrics import MetricsLog
from trainer.trace import Trace


def strictly(line: str) -> dict:
    """Parse as the standard has it: without Infinity and NaN."""

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is no JSON")

    return json.loads(line, parse_constant=refuse)


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_what_is_not_finite_is_null(tmp_path: Path, number: float):
    log = MetricsLog(tmp_path / "timings.jsonl")
    log.step(
        1, samples=5, loss=2.5, lr=0.1, grad_norm=number, loss_tokens=9, data=7, tokens=100,
        seconds=2.0, data_seconds=0.1,
    )  # fmt: skip
    log.validation(1, 5, {"docs": number, "code": 1.25})
    step, validation = map(strictly, log.lines)
    assert (step["loss"], step["grad_norm"]) == (2.5, None)
    assert validation["validation"] == {"docs": None, "code": 1.25}
    timings = [strictly(line) for line in (tmp_path / "timings.jsonl").read_text().splitlines()]
    assert timings[1]["losses"] == {"docs": None, "code": 1.25}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_below_the_logs_is_said():
    with pytest.raises(StageError, match=r"/dev/full: cannot be written: No space .* make room"):
        MetricsLog(Path("/dev/full")).say("hello")


def test_a_step_that_overflowed_is_shown(capsys: pytest.CaptureFixture[str]):
    found = Trace(3, [10, 11], 2.5, None, True, [], None)
    trace_cli._print(found, 5)
    assert "loss 2.5000, gradient norm not finite, samples 10 to 11" in capsys.readouterr().out
