import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clusters import runs
from clusters.artifact import Artifact, ArtifactError
from clusters.config import ConfigError
from clusters.failpoints import VARIABLE
from clusters.gc import collect, garbage
from clusters.runner import forecast, run
from clusters.show import verify
from clusters.stop import stop
from tests.clusters.toy_chain import toy_plan

ENVIRONMENT = os.environ | {"PYTHONPATH": os.getcwd()}
FAILPOINTS = [
    "unit.number.before_publish",
    "unit.number.after_publish",
    "artifact.before_commit",
    "artifact.after_commit",
    "toy.sum",
]


def digests(folder: Path) -> dict[str, str | None]:
    record = runs.load(folder / "runs" / "toy")
    return {name: stage.digest for name, stage in record.stages.items()}


def actions(*args, **kwargs) -> list[str]:
    return [row.action for row in forecast(*args, **kwargs)]


def test_a_run_makes_everything_once(tmp_path: Path) -> None:
    assert actions(toy_plan(tmp_path)) == ["run", "run, its inputs change"]
    directory = run(toy_plan(tmp_path), "embedded")
    assert (directory / "total" / "total.txt").read_text() == str(sum(range(1, 6)))
    assert actions(toy_plan(tmp_path)) == ["keep", "keep"]
    run(toy_plan(tmp_path, workers=7), "embedded")  # an execution field changes nothing
    record = runs.load(directory)
    assert [stage.status for stage in record.stages.values()] == ["kept", "kept"]
    assert record.stages["numbers"].inputs == {"asked": 5}
    assert record.stages["total"].outputs == {"total": 15}
    assert verify(directory) == []


def test_a_record_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    directory = run(toy_plan(tmp_path), "embedded")
    record = runs.load(directory)
    gone = tmp_path / "gone"
    gone.write_text("a file where the run's folder was")
    with pytest.raises(ArtifactError, match=r"gone/run\.json: cannot be written: .*same command"):
        runs.save(gone, record)


def test_what_changes_runs_again_and_what_does_not_is_kept(tmp_path: Path) -> None:
    run(toy_plan(tmp_path), "embedded")
    assert actions(toy_plan(tmp_path, count=6)) == ["run", "run, its inputs change"]
    assert actions(toy_plan(tmp_path, seed=2)) == ["run", "run, its inputs change"]
    assert actions(toy_plan(tmp_path), only=["numbers"]) == ["keep"]


def test_only_runs_what_the_wanted_stage_needs(tmp_path: Path) -> None:
    directory = run(toy_plan(tmp_path), "embedded", only=["numbers"])
    assert list(runs.load(directory).stages) == ["numbers"]
    with pytest.raises(ConfigError, match="did you mean 'numbers'"):
        run(toy_plan(tmp_path), "embedded", only=["number"])


def test_too_little_memory_stops_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'numbers' needs 9999999.0 GiB of memory"):
        run(toy_plan(tmp_path, gigabytes=9999999), "embedded")
    assert not (tmp_path / "store").exists()


def kill_and_rerun(tmp_path: Path, name: str) -> None:
    run(toy_plan(tmp_path / "calm"), "embedded")
    folder = tmp_path / "killed"
    folder.mkdir()
    token = tmp_path / "token"
    token.touch()
    command = [sys.executable, str(Path(__file__).parent / "toy_chain.py"), str(folder)]
    environment = ENVIRONMENT | {VARIABLE: f"{name}:{token}"}
    killed = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (
        runs.shown_status(folder / "runs" / "toy", runs.load(folder / "runs" / "toy")) == "killed"
    )
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert digests(folder) == digests(tmp_path / "calm")
    assert verify(folder / "runs" / "toy") == []


def test_a_killed_driver_is_resumed_at_a_random_place(tmp_path: Path) -> None:
    name = random.choice(FAILPOINTS)
    print(f"killed at {name}")
    kill_and_rerun(tmp_path, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAILPOINTS)
def test_a_killed_driver_is_resumed_anywhere(tmp_path: Path, name: str) -> None:
    kill_and_rerun(tmp_path, name)


def test_units_done_before_the_kill_are_not_redone(tmp_path: Path) -> None:
    plan = toy_plan(tmp_path)
    asked = forecast(plan)[0].fingerprint
    from clusters.artifact import ArtifactWriter

    before = ArtifactWriter.begin(tmp_path / "store", "numbers", asked)
    with before.units.start("number/0") as unit:
        unit.path("numbers/0.txt").write_text("100")  # a value only the first attempt wrote
        unit.stats["value"] = 100
    directory = run(plan, "embedded")
    assert (directory / "total" / "total.txt").read_text() == str(100 + sum(range(2, 6)))


def test_show_follows_lineage_and_verify_finds_a_changed_byte(tmp_path: Path) -> None:
    directory = run(toy_plan(tmp_path), "embedded")
    from clusters.show import lineage

    artifact = Artifact.open(directory / "total")
    assert lineage(artifact)[0].startswith("numbers: numbers ")
    victim = Artifact.open(directory / "numbers").path("numbers/3.txt")
    victim.write_text("9")
    assert any("3.txt" in problem for problem in verify(directory))


def test_gc_frees_only_what_no_run_points_to(tmp_path: Path) -> None:
    run(toy_plan(tmp_path), "embedded")
    run(toy_plan(tmp_path, count=2), "embedded")
    found = garbage(tmp_path / "store", tmp_path / "runs")
    assert {item.why for item in found} == {"no run points to it"}
    collect(found)
    assert verify(tmp_path / "runs" / "toy") == []
    assert garbage(tmp_path / "store", tmp_path / "runs") == []


SLEEPER = """
import sys, time
from pathlib import Path
from clusters import runs
directory = Path(sys.argv[1])
with runs.driving(directory):
    runs.save(directory, runs.new_record("toy", Path("toy.yaml"), None))
    print("driving", flush=True)
    time.sleep(600)
"""


def test_a_second_driver_is_refused_and_stop_ends_the_first(tmp_path: Path) -> None:
    directory = tmp_path / "runs" / "toy"
    command = [sys.executable, "-c", SLEEPER, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) as sleeper:
        assert sleeper.stdout.readline() == b"driving\n"
        with pytest.raises(ConfigError, match="inkstone stop toy"):
            run(toy_plan(tmp_path), "embedded")
        with pytest.raises(ConfigError, match="is running"):
            garbage(tmp_path / "store", tmp_path / "runs")
        stop(directory, "")
    run(toy_plan(tmp_path), "embedded")
    with pytest.raises(ConfigError, match="'toy' is finished, not running"):
        stop(directory, "")


def test_a_driver_on_another_machine_is_not_killed_here(tmp_path: Path) -> None:
    directory = tmp_path / "runs" / "toy"
    record = runs.new_record("toy", Path("toy.yaml"), None)
    record.host = "elsewhere"
    with runs.driving(directory):
        runs.save(directory, record)
        with pytest.raises(ConfigError, match="driven by elsewhere"):
            stop(directory, "")
    assert runs.shown_status(directory, record) == "killed"


def test_only_keeps_what_earlier_runs_made(tmp_path: Path) -> None:
    directory = run(toy_plan(tmp_path), "embedded")
    total = runs.load(directory).stages["total"]
    run(toy_plan(tmp_path), "embedded", only=["numbers"])
    assert runs.load(directory).stages["total"] == total
    assert garbage(tmp_path / "store", tmp_path / "runs") == []


def test_run_json_is_plain_json(tmp_path: Path) -> None:
    directory = run(toy_plan(tmp_path), "embedded")
    raw = json.loads((directory / "run.json").read_text())
    assert raw["stages"]["numbers"]["fingerprint"]
    assert (directory / "logs" / raw["id"] / "driver.log").read_text().startswith("numbers (")


def test_a_run_where_nothing_can_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    said = "the run cannot be written there: Not a directory"
    with pytest.raises(ConfigError, match=said), runs.driving(tmp_path / "runs" / "demo"):
        pass
