"""Units over Ray tasks: what goes wrong in a worker is told in one line."""

import io
import os
import signal
from pathlib import Path

import pytest

from clusters.progress import Progress
from clusters.stage import StageError
from clusters.units import Unit, Units
from corpus.unit_map import map_units

FULL = Path("/dev/full")


def _write(unit: Unit, name: str, full: set[str]) -> None:
    path = FULL if name in full else unit.path(f"{name}.txt")
    with path.open("w") as file:
        file.write("text " * 10_000)


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
@pytest.mark.usefixtures("ray_session")
def test_a_full_disk_says_so_and_what_is_done_is_kept(tmp_path: Path) -> None:
    units = Units(tmp_path / "work")

    def run(full: set[str]) -> None:
        map_units(
            units, "corpus.test.step", ["a", "b", "c"], _write, {"full": full},
            workers=1, progress=Progress(io.StringIO()),
        )  # fmt: skip

    with pytest.raises(StageError, match=r"the disk is full: .* step/b; free some space"):
        run({"b"})
    assert units.pending(["step/a", "step/b"]) == ["step/b"]
    run(set())
    assert units.pending(["step/a", "step/b", "step/c"]) == []


def _die(unit: Unit, name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.usefixtures("ray_session")
def test_a_unit_that_always_kills_its_worker_is_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="the worker died 6 times on step/bad"):
        map_units(
            Units(tmp_path / "work"), "corpus.test.step", ["bad"], _die, {},
            workers=1, progress=Progress(io.StringIO()),
        )  # fmt: skip
