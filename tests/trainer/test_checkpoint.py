import errno
import random
import threading
from pathlib import Path

import pytest
import torch

from trainer.checkpoint import CheckpointError, CheckpointStore, Policy, writer
from trainer.checkpoint import store as store_module
from trainer.checkpoint.snapshot import Snapshot
from trainer.config import OptimiserConfig
from trainer.cursor import Cursor
from trainer.parallel.plain import PlainStepper


class Two(torch.nn.Module):
    """Two small parameters: a matrix and a vector."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.matrix = torch.nn.Parameter(torch.randn(4, width))
        self.vector = torch.nn.Parameter(torch.randn(5))


def stepper(value: float = 0.0, width: int = 3) -> PlainStepper:
    """A stepper whose fp32 state is ``value`` everywhere."""
    made = PlainStepper(Two(width).bfloat16(), OptimiserConfig())
    with torch.no_grad():
        for fragment in made.held():
            fragment.values.fill_(value)
    return made


def value_of(found: PlainStepper) -> float:
    values = torch.cat([fragment.values for fragment in found.held()])
    assert torch.all(values == values[0])
    assert torch.all(found._low[0] == values[0].bfloat16()), "the weights were not rounded"
    return float(values[0])


def save(store: CheckpointStore, step: int, value: float | None = None) -> None:
    state = stepper(step if value is None else value)
    store.save(state, Cursor(step, step * 4), [f"line {step}\n"])
    store.wait(state)


@pytest.fixture
def saved(tmp_path: Path) -> CheckpointStore:
    policy = Policy(asynchronous=random.random() < 0.5)
    store = CheckpointStore(tmp_path, prefix="test", policy=policy)
    for step in (10, 20, 30):
        save(store, step)
    return store


def test_nothing_saved_is_a_fresh_start(tmp_path: Path):
    assert CheckpointStore(tmp_path, prefix="test").resume(stepper(), print) is None


def test_resumes_the_newest_and_keeps_two(saved: CheckpointStore):
    state = stepper()
    record, lines = saved.resume(state, print)
    assert (record.step, record.samples, value_of(state)) == (30, 120, 30)
    assert lines == ["line 30\n"]
    assert [path.name for path in saved.records()] == ["step-00000030.json", "step-00000020.json"]
    assert len([p for p in saved.root.iterdir() if p.is_dir()]) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "record"])
def test_a_damaged_newest_falls_back_and_says_so(saved: CheckpointStore, damage: str):
    path = next(saved.root.glob("step-00000030.*/*.safetensors"))
    if damage == "flip":
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    elif damage == "cut":
        path.write_text("")
    elif damage == "remove":
        path.unlink()
    else:
        saved.records()[0].write_text('{"step": 30')
    said: list[str] = []
    state = stepper()
    record, _ = saved.resume(state, said.append)
    assert (record.step, value_of(state)) == (20, 20)
    assert len(said) == 1
    assert "step-00000030.json" in said[0]
    assert "falling back" in said[0]
    save(saved, 30, 33.0)
    assert saved.resume(state, print)[0].step == 30
    assert value_of(state) == 33


def test_never_a_silent_restart(saved: CheckpointStore):
    for path in saved.root.glob("step-*/*.safetensors"):
        path.write_text("?")
    there = sorted(saved.root.rglob("*"))
    for _ in range(2):  # the same command again must not start over either
        with pytest.raises(CheckpointError, match="none of 2 checkpoints is whole"):
            CheckpointStore(saved.root, prefix="test").resume(stepper(), lambda text: None)
        assert sorted(saved.root.rglob("*")) == there


def test_storage_that_fails_for_a_while_costs_no_checkpoint(
    saved: CheckpointStore, monkeypatch: pytest.MonkeyPatch
):
    def broken(*args: object) -> str:
        raise OSError(errno.EIO, "Input/output error")

    there = sorted(saved.root.rglob("*"))
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "problem_of", broken)
        with pytest.raises(CheckpointError, match=r"step-00000030\.json: cannot be read: .Errno 5"):
            saved.resume(stepper(), print)
        assert sorted(saved.root.rglob("*")) == there
    record, _ = saved.resume(stepper(), print)
    assert record.step == 30


def test_another_model_costs_no_checkpoint(saved: CheckpointStore):
    saved.records()[0].write_text("not json")
    there = sorted(saved.root.rglob("*"))
    with pytest.raises(CheckpointError, match="saved from another model"):
        saved.resume(stepper(width=2), lambda text: None)
    assert sorted(saved.root.rglob("*")) == there


def test_an_unfinished_save_is_ignored_and_swept(saved: CheckpointStore):
    (saved.root / "step-00000040.dead").mkdir()
    record, _ = saved.resume(stepper(), print)
    assert record.step == 30
    assert not (saved.root / "step-00000040.dead").exists()


def test_another_model_is_refused(saved: CheckpointStore):
    with pytest.raises(CheckpointError, match=r"step-00000030\.json: saved from another model"):
        saved.resume(stepper(width=2), print)


def test_a_second_save_of_a_step_leaves_the_first(saved: CheckpointStore):
    save(saved, 30, 99.0)
    state = stepper()
    saved.resume(state, print)
    assert value_of(state) == 30


def test_an_older_unreadable_record_does_not_stop_the_run(saved: CheckpointStore):
    saved.records()[1].write_text("not json")
    record, _ = saved.resume(stepper(), print)
    assert record.step == 30
    save(saved, 40)
    assert [path.name for path in saved.records()] == ["step-00000040.json", "step-00000030.json"]


def test_milestones_are_kept(tmp_path: Path):
    store = CheckpointStore(tmp_path, prefix="test", policy=Policy(keep_last=1, keep_every=4))
    for step in range(2, 16, 2):
        save(store, step)
    assert [int(path.stem[5:]) for path in store.records()] == [14, 12, 8, 4]


def test_what_is_saved_is_the_state_at_the_time_of_the_save(tmp_path: Path):
    store = CheckpointStore(tmp_path, prefix="test", policy=Policy(asynchronous=True))
    state = stepper(1.0)
    store.save(state, Cursor(1, 4), [])
    state.before_change()
    for fragment in state.held():
        fragment.values.fill_(2.0)
    store.wait(state)
    again = stepper()
    store.resume(again, print)
    assert value_of(again) == 1


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_full_disk_is_told_with_the_remedy(
    saved: CheckpointStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asynchronous: bool
):
    def full(path: Path, snapshot: Snapshot) -> tuple[int, str]:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = CheckpointStore(tmp_path, prefix="test", policy=Policy(asynchronous=asynchronous))
    with monkeypatch.context() as patch:
        patch.setattr(writer, "write_shard", full)
        with pytest.raises(CheckpointError, match=r"No space left .* lower checkpoint\.keep_last"):
            save(store, 40)
    record, _ = CheckpointStore(tmp_path, prefix="test").resume(stepper(), print)
    assert record.step == 30


class OneOfTwo(PlainStepper):
    """A rank of two; the ranks are threads that meet in ``values``."""

    world_size = 2

    def __init__(self, rank: int, values: dict[int, object], meet: threading.Barrier) -> None:
        super().__init__(Two().bfloat16(), OptimiserConfig())
        self.rank, self._values, self._meet = rank, values, meet

    def _all(self, value: object) -> list:
        self._values[self.rank] = value
        self._meet.wait()
        found = [self._values[0], self._values[1]]
        self._meet.wait()
        return found

    def total(self, values: list[float]) -> list[float]:
        return [one + other for one, other in zip(*self._all(values), strict=True)]

    def share(self, value: object) -> object:
        return self._all(value)[0]


@pytest.mark.parametrize("speechless", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), RuntimeError("lost")])
def test_a_rank_that_cannot_write_ends_the_others(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    asynchronous: bool,
    speechless: bool,
):
    """Rank 1 fails, and if ``speechless`` it cannot even leave word: rank 0 must not wait on."""
    write, publish = writer.write_shard, writer.publish

    def fail_on_rank_1(path: Path, snapshot: Snapshot) -> tuple[int, str]:
        if path.name.startswith("rank-00001"):
            raise error
        return write(path, snapshot)

    def full(path: Path, text: str) -> bool:
        if speechless and path.name == "part-00001.json":
            raise OSError(errno.ENOSPC, "No space left")
        return publish(path, text)

    monkeypatch.setattr(writer, "write_shard", fail_on_rank_1)
    monkeypatch.setattr(writer, "publish", full)
    values: dict[int, object] = {}
    meet = threading.Barrier(2, timeout=200)
    told: dict[int, str] = {}

    def rank(number: int) -> None:
        policy = Policy(asynchronous=asynchronous)
        store = CheckpointStore(tmp_path, prefix="test", policy=policy)
        state = OneOfTwo(number, values, meet)
        try:
            store.save(state, Cursor(1, 4), [])
            store.wait(state)
        except CheckpointError as error:
            told[number] = str(error)

    threads = [threading.Thread(target=rank, args=(n,), daemon=True) for n in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert sorted(told) == [0, 1], "a rank still waits"
    assert "did not write its part" in told[0] if speechless else "rank-00001" in told[0]
    assert str(error.args[-1]) in told[1]
    assert not list(tmp_path.glob("*.json"))


def test_counters_and_skipped_ranges_come_back(tmp_path: Path):
    store = CheckpointStore(tmp_path, prefix="test")
    state = stepper(1.0)
    for parameter in state._master:
        parameter.grad = torch.ones_like(parameter)
    state.step(1e-3)
    store.save(state, Cursor(1, 9, ((3, 5),)), [])
    store.wait(state)
    again = stepper()
    record, _ = store.resume(again, print)
    assert again.scalars() == state.scalars()
    assert again.scalars()["optimiser_steps"] == 1
    assert record.skipped == [(3, 5)]
    for one, other in zip(state.held(), again.held(), strict=True):
        assert torch.equal(one.values, other.values), one.key
