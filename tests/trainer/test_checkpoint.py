from pathlib import Path
from typing import Any

import pytest

from trainer.checkpoint import CheckpointError, CheckpointStore


class FakeState:
    """A stepper that saves one number: enough for the checkpoint protocol."""

    def __init__(self, world_size: int = 1) -> None:
        self.rank = 0
        self.world_size = world_size
        self.value = 0

    def share(self, value: Any) -> Any:
        return value

    def total(self, values: list[float]) -> list[float]:
        return values

    def save(self, directory: Path) -> None:
        (directory / "deep").mkdir()
        (directory / "deep" / "value").write_text(str(self.value))

    def load(self, directory: Path) -> None:
        self.value = int((directory / "deep" / "value").read_text())


@pytest.fixture
def saved(tmp_path: Path) -> CheckpointStore:
    store = CheckpointStore(tmp_path, prefix="test")
    state = FakeState()
    for step in (10, 20, 30):
        state.value = step
        store.save(state, step, step * 4, [f"line {step}\n"])
    return store


def test_nothing_saved_is_a_fresh_start(tmp_path: Path):
    assert CheckpointStore(tmp_path, prefix="test").resume(FakeState(), print) is None


def test_resumes_the_newest_and_keeps_two(saved: CheckpointStore):
    state = FakeState()
    record, lines = saved.resume(state, print)
    assert (record.step, record.samples, state.value) == (30, 120, 30)
    assert lines == ["line 30\n"]
    assert [path.name for path in saved.records()] == ["step-00000030.json", "step-00000020.json"]
    assert len([p for p in saved.root.iterdir() if p.is_dir()]) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "record"])
def test_a_damaged_newest_falls_back_and_says_so(saved: CheckpointStore, damage: str):
    path = next(saved.root.glob("step-00000030.*/deep/value"))
    if damage == "flip":
        path.write_text("31")
    elif damage == "cut":
        path.write_text("")
    elif damage == "remove":
        path.unlink()
    else:
        saved.records()[0].write_text('{"step": 30')
    said: list[str] = []
    state = FakeState()
    record, _ = saved.resume(state, said.append)
    assert (record.step, state.value) == (20, 20)
    assert len(said) == 1
    assert "step-00000030.json" in said[0]
    assert "falling back" in said[0]
    state.value = 33
    saved.save(state, 30, 120, [])
    assert saved.resume(state, print)[0].step == 30


def test_never_a_silent_restart(saved: CheckpointStore):
    for path in saved.root.glob("step-*/deep/value"):
        path.write_text("?")
    with pytest.raises(CheckpointError, match="none of 2 checkpoints is whole"):
        saved.resume(FakeState(), lambda text: None)


def test_an_unfinished_save_is_ignored_and_swept(saved: CheckpointStore):
    (saved.root / "step-00000040.dead").mkdir()
    record, _ = saved.resume(FakeState(), print)
    assert record.step == 30
    assert not (saved.root / "step-00000040.dead").exists()


def test_another_world_size_is_refused_with_the_remedy(saved: CheckpointStore):
    with pytest.raises(CheckpointError, match=r"set parallel\.workers to 1"):
        saved.resume(FakeState(world_size=3), print)


def test_a_second_save_of_a_step_leaves_the_first(saved: CheckpointStore):
    state = FakeState()
    state.value = 99
    saved.save(state, 30, 120, [])
    saved.resume(state, print)
    assert state.value == 30


def test_an_older_unreadable_record_does_not_stop_the_run(saved: CheckpointStore):
    saved.records()[1].write_text("not json")
    state = FakeState()
    record, _ = saved.resume(state, print)
    assert record.step == 30
    saved.save(state, 40, 160, [])
    assert [path.name for path in saved.records()] == ["step-00000040.json", "step-00000030.json"]
