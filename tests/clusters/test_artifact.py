import contextlib
import json
import threading
from pathlib import Path

import pytest

from clusters.artifact import Artifact, ArtifactError, ArtifactWriter
from clusters.config import ConfigError
from clusters.files import publish

FINGERPRINT = "ab" * 32


def commit(writer: ArtifactWriter) -> Artifact:
    return writer.commit(
        kind="thing",
        stage="toy.thing",
        version=1,
        fingerprint=FINGERPRINT,
        config={},
        parents=[],
        external=[],
        stats={},
        seconds=1.0,
    )


def test_units_of_several_attempts_end_in_one_folder(tmp_path: Path) -> None:
    first = ArtifactWriter.begin(tmp_path, "thing", FINGERPRINT)
    with first.units.start("part/0") as unit:
        unit.path("parts/0.txt").write_text("zero")
    second = ArtifactWriter.begin(tmp_path, "thing", FINGERPRINT)
    assert second.units.pending(["part/0", "part/1"]) == ["part/1"]
    with second.units.start("part/1") as unit:
        unit.path("parts/1.txt").write_text("one")
        unit.scratch("left.txt").write_text("not data")
    second.path("total.json").write_text("{}")
    artifact = commit(second)
    assert sorted(p.name for p in artifact.path("parts").iterdir()) == ["0.txt", "1.txt"]
    assert [e.name for e in artifact.manifest.files] == ["parts/0.txt", "parts/1.txt", "total.json"]
    assert artifact.verify() == []
    assert not (artifact.directory / "work").exists()


def test_racing_drivers_leave_one_whole_result(tmp_path: Path) -> None:
    writers = [ArtifactWriter.begin(tmp_path, "thing", FINGERPRINT) for _ in range(4)]
    for number, writer in enumerate(writers):
        writer.path("who.txt").write_text(str(number))
    results: list[Artifact] = []
    threads = [threading.Thread(target=lambda w=w: results.append(commit(w))) for w in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({artifact.manifest.digest for artifact in results}) == 1
    assert results[0].verify() == []


def test_a_unit_that_fails_is_not_published(tmp_path: Path) -> None:
    writer = ArtifactWriter.begin(tmp_path, "thing", FINGERPRINT)
    with contextlib.suppress(RuntimeError), writer.units.start("part/0") as unit:
        unit.path("parts/0.txt").write_text("half")
        raise RuntimeError
    assert writer.units.pending(["part/0"]) == ["part/0"]
    assert commit(writer).manifest.files == []


def test_a_unit_finished_twice_counts_once(tmp_path: Path) -> None:
    writer = ArtifactWriter.begin(tmp_path, "thing", FINGERPRINT)
    with writer.units.start("part/0") as one, writer.units.start("part/0") as two:
        one.path("part.txt").write_text("inner ends first")
        two.path("part.txt").write_text("the first to publish wins")
    assert commit(writer).path("part.txt").read_text() == "the first to publish wins"


def test_publish_never_replaces(tmp_path: Path) -> None:
    assert publish(tmp_path / "x.json", "first")
    assert not publish(tmp_path / "x.json", "second")
    assert (tmp_path / "x.json").read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("harm", ["change", "truncate", "remove"])
def test_verify_names_the_harmed_file(tmp_path: Path, harm: str) -> None:
    writer = ArtifactWriter.begin(tmp_path, "thing", FINGERPRINT)
    writer.path("data.txt").write_text("all is well")
    artifact = commit(writer)
    path = artifact.path("data.txt")
    if harm == "remove":
        path.unlink()
    else:
        path.write_text("all is hell" if harm == "change" else "all")
    (problem,) = artifact.verify()
    assert "data.txt" in problem


def test_open_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no finished artifact"):
        Artifact.open(tmp_path)
    writer = ArtifactWriter.begin(tmp_path, "thing", FINGERPRINT)
    artifact = commit(writer)
    with pytest.raises(ArtifactError, match="holds 'thing', expected 'other'"):
        Artifact.open(artifact.directory, "other")
    with pytest.raises(ArtifactError, match="no 'model'"):
        artifact.path("model")
    manifest = artifact.directory / "manifest.json"
    whole = json.loads(manifest.read_text())
    for text, said in [
        ("{", "Invalid JSON"),
        (json.dumps(whole | {"kind": 3}), "kind: .*string, got 3; remove the folder"),
        (json.dumps({**whole, "files": None}), "files: .*array, got None"),
    ]:
        manifest.write_text(text)
        with pytest.raises(ArtifactError, match=f"^[^\n]*unreadable manifest: {said}[^\n]*$"):
            Artifact.open(artifact.directory)
    manifest.write_bytes(b"\xff\xfe")
    with pytest.raises(ArtifactError, match="unreadable manifest"):
        Artifact.open(artifact.directory)


def test_a_store_that_is_a_file_is_refused(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.write_text("a file")
    with pytest.raises(ConfigError, match=r"store: .*no folder can be made in it: Not a directory"):
        ArtifactWriter.begin(store, "tokens", "a" * 64)
