"""Who is told of a run: real event files, refusals, and one that fails."""

import os
import struct
import sys
from pathlib import Path

import pytest

from clusters.config import ConfigError
from trainer.metrics import MetricsLog
from trainer.observe.config import ObserveConfig
from trainer.observe.observer import Observers, check_installed, openers


def events_of(folder: Path) -> list[tuple[int, str, float]]:
    """(step, name, value) of every scalar in TensorBoard's files, read record by record."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + size])
            found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
            at += 12 + size + 4
    return found


def write(log: MetricsLog, step: int) -> None:
    log.step(
        step, samples=step * 5, loss=4.0 / step, lr=0.1, grad_norm=float("inf"), loss_tokens=9,
        data=7, tokens=100, seconds=2.0, data_seconds=0.5,
    )  # fmt: skip


def test_tensorboard_gets_every_step_and_validation(tmp_path: Path) -> None:
    told = openers(ObserveConfig(), tmp_path, "run")
    log = MetricsLog(tmp_path / "timings.jsonl", openers=told)
    log.validation(0, 0, {"en": 6.5, "zh": float("nan")})
    write(log, 1)
    write(log, 2)
    log.finished()
    found = events_of(tmp_path / "tensorboard")
    assert (0, "validation/en", 6.5) in found
    assert [(step, value) for step, name, value in found if name == "loss"] == [(1, 4.0), (2, 2.0)]
    assert (1, "tokens_per_second", 50.0) in found
    assert (2, "data_wait", 0.25) in found
    names = {name for _, name, _ in found}
    assert "goodput" in names
    assert "grad_norm" not in names  # infinity is no number to draw
    assert "validation/zh" not in names


def test_every_nth_step_is_told_and_a_restart_hides_what_it_replaces(tmp_path: Path) -> None:
    told = openers(ObserveConfig(every=2), tmp_path, "run")
    log = MetricsLog(tmp_path / "timings.jsonl", openers=told, every=2)
    for step in range(1, 7):
        write(log, step)
    log.finished()
    assert [s for s, name, _ in events_of(tmp_path / "tensorboard") if name == "loss"] == [2, 4, 6]
    again = MetricsLog(tmp_path / "timings.jsonl", openers=openers(ObserveConfig(), tmp_path, ""))
    write(again, 5)
    again.finished()
    from tensorboardX.proto.event_pb2 import SessionLog

    # The name holds the second in which it was begun: two of one second are one file.
    data = max((tmp_path / "tensorboard").glob("events.*"))
    starts = _session_starts(data.read_bytes())
    assert starts == [(5, SessionLog.START)]


def _session_starts(data: bytes) -> list[tuple[int, int]]:
    from tensorboardX.proto.event_pb2 import Event

    found, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        event = Event.FromString(data[at + 12 : at + 12 + size])
        if event.HasField("session_log"):
            found.append((event.step, event.session_log.status))
        at += 12 + size + 4
    return found


def test_an_observer_that_fails_is_left_out_and_said(tmp_path: Path) -> None:
    class Broken:
        def scalars(self, step: int, values: dict[str, float]) -> None:
            raise OSError("no space left\non the tracker")

        def close(self) -> None:
            raise AssertionError("it is gone")

    told: list[int] = []

    class Fine:
        def scalars(self, step: int, values: dict[str, float]) -> None:
            told.append(step)

        def close(self) -> None:
            told.append(-1)

    path = tmp_path / "timings.jsonl"
    log = MetricsLog(path, openers={"wandb": lambda s: Broken(), "fine": lambda s: Fine()})
    for step in (1, 2):
        write(log, step)
    log.finished()
    assert told == [1, 2, -1]
    assert path.read_text().count("observe.wandb is left out from here: OSError: no space") == 1


@pytest.mark.parametrize("key", ["mlflow", "wandb", "tensorboard"])
def test_what_is_not_installed_is_refused_before_it_starts(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ObserveConfig.model_validate(
        {"tensorboard": False, key: True if key == "tensorboard" else "somewhere"}
    )
    module = {"tensorboard": "tensorboardX"}.get(key, key)
    monkeypatch.setattr(sys, "meta_path", [])
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ConfigError, match=rf"observe\.{key}: the package {module} is not inst"):
        check_installed(config)


def test_nothing_is_asked_of_who_is_not_named() -> None:
    check_installed(ObserveConfig())
    assert openers(ObserveConfig(tensorboard=False), Path("unused"), "run") == {}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_disk_that_fills_leaves_tensorboard_out_and_training_goes_on(tmp_path: Path) -> None:
    """The event file becomes a full device in mid-run; nobody waits for it."""
    said: list[str] = []
    opener = openers(ObserveConfig(), tmp_path, "r")
    observers = Observers(opener, said.append)
    observers.scalars(1, {"loss": 1.0})
    (file,) = (tmp_path / "tensorboard").iterdir()
    (own,) = (fd for fd in Path("/proc/self/fd").iterdir() if fd.resolve() == file.resolve())
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, int(own.name))
    os.close(full)
    for step in range(2, 2000):
        observers.scalars(step, {f"figure {n}": 0.5 for n in range(10)})
    assert len(said) == 1
    assert "observe.tensorboard is left out from here: OSError" in said[0]
    assert "No space left" in said[0]
