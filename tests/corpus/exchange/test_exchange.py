from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clusters.units import Units
from corpus.exchange import EARLIER, PARTITIONS, SHARDS, Exchange, Flow, MemoryFlow, Place, record
from corpus.exchange.files import ends_file, read_group, write_grouped
from corpus.exchange.units import UnitFlow
from corpus.workspace import Workspace
from tests.corpus.flows import Inline

DTYPE = record(key="u8", value="u4")
OUT = Exchange("send", "out", SHARDS, PARTITIONS, DTYPE)
BACK = Exchange("answer", "back", PARTITIONS, SHARDS, DTYPE)


def _records(count: int) -> np.ndarray:
    rng = np.random.default_rng()
    records = np.empty(count, DTYPE)
    records["key"] = rng.integers(0, 1 << 64, count, np.uint64)
    records["value"] = np.arange(count)
    return records


@pytest.mark.parametrize("count", [0, 1, 500])
@pytest.mark.parametrize("targets", [1, 2, 9])
def test_every_target_finds_its_records_in_order(count: int, targets: int, tmp_path: Path) -> None:
    records, to = _records(count), np.random.default_rng().integers(0, targets, count)
    path = tmp_path / "a.exchange"
    write_grouped(path, to, records, targets)
    for target in range(targets):
        assert np.array_equal(read_group(path, target, DTYPE), records[to == target])


def test_a_cut_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.exchange"
    write_grouped(path, np.zeros(10, np.int64), _records(10), 1)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(OSError, match="9 records for target 0, not 10"):
        read_group(path, 0, DTYPE)
    ends_file(path).unlink()
    with pytest.raises(FileNotFoundError):
        read_group(path, 0, DTYPE)


def _send(place: Place, records: list[np.ndarray]) -> None:
    place.send(OUT, "key", records[place.index])
    place.save("own", records[place.index])


def _answer(place: Place) -> None:
    got = place.read(OUT)
    shards = (got["key"] % np.uint64(place.counts[SHARDS])).astype(np.int64)
    place.write(BACK, shards, got)
    place.stats["got"] = len(got)


def _finish(place: Place) -> None:
    place.stats["back"] = sorted(place.read(BACK)["key"].tolist())
    place.stats["own"] = place.load("send", "own")["value"].tolist()


def _run(flow: Flow, records: list[np.ndarray]) -> list[dict[str, Any]]:
    flow.each(SHARDS, "send", _send, records=records)
    counts = flow.each(PARTITIONS, "answer", _answer)
    assert sum(stats["got"] for stats in counts) == sum(map(len, records))
    return flow.each(SHARDS, "finish", _finish)


def test_files_and_memory_carry_the_same_and_a_second_run_does_nothing(tmp_path: Path) -> None:
    records = [_records(count) for count in (40, 0, 7)]
    names: Any = {SHARDS: ["a", "b", "c"], EARLIER: []}
    work = Workspace(Units(tmp_path), names[SHARDS])
    inline = Inline(work)
    by_files = _run(UnitFlow(inline, names, 4), records)
    assert len(inline.done) == 3 + 4 + 3
    again = _run(UnitFlow(inline, names, 4), records)
    assert len(inline.done) == 3 + 4 + 3
    with work.units.start("flow/all") as unit:
        by_memory = _run(MemoryFlow(unit, names), records)
    assert by_files == again == by_memory
    every = {key for part in records for key in part["key"].tolist()}
    assert {key for stats in by_files for key in stats["back"]} == every
    for shard, stats in enumerate(by_files):
        assert all(key % 3 == shard for key in stats["back"])
