import json
import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.trajectory import TRAJECTORY, Turn, episode_id, to_table

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
FLOATS = st.floats(-100, 0, width=32)


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    size = draw(st.integers(0, 6))
    exactly = {"min_size": size, "max_size": size}
    return Turn(
        episode_id=draw(TEXT),
        attempt=draw(TEXT),
        group_id=draw(TEXT),
        policy_version=draw(st.integers(0, 2**40)),
        turn=draw(st.integers(0, 100)),
        messages=json.dumps([{"role": "user", "content": draw(TEXT)}]),
        reply=draw(st.none() | TEXT),
        prompt_ids=draw(st.lists(st.integers(0, 2**31 - 1), max_size=6)),
        output_ids=draw(st.lists(st.integers(0, 2**31 - 1), **exactly)),
        logprobs=draw(st.lists(FLOATS, **exactly)),
        loss_mask=draw(st.lists(st.booleans(), **exactly)),
        tool_name=draw(st.none() | TEXT),
        args_json=draw(st.none() | TEXT),
        result_json=draw(st.none() | TEXT),
        tool_ms=draw(st.none() | st.floats(0, 1e6, width=32)),
        status=draw(TEXT),
        reward=draw(st.none() | st.floats(0, 1, width=32)),
        seed=draw(st.integers(0, 2**62)),
    )


@given(st.lists(turns(), max_size=5))
def test_table_round_trip(rows: list[Turn]) -> None:
    table = to_table(rows)
    assert table.schema == TRAJECTORY
    assert [Turn.model_validate(row) for row in table.to_pylist()] == rows


def test_the_row_and_the_table_have_the_same_fields() -> None:
    assert TRAJECTORY.names == list(Turn.model_fields)
    for name, field in Turn.model_fields.items():
        if type(None) in getattr(field.annotation, "__args__", ()):
            assert TRAJECTORY.field(name).nullable, name


def test_the_table_survives_parquet(tmp_path) -> None:
    import pyarrow.parquet as pq

    row = Turn(
        episode_id="e", attempt="a", group_id="g", turn=0, messages="[]", status="final", seed=1
    )
    pq.write_table(to_table([row] * 3), tmp_path / "t.parquet")
    assert pq.read_table(tmp_path / "t.parquet").equals(pa.concat_tables([to_table([row])] * 3))


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        Turn(
            episode_id="e",
            attempt="a",
            group_id="g",
            turn=0,
            messages="[]",
            status="final",
            seed=1,
            more=1,
        )


def test_episode_ids_follow_from_every_part_and_nothing_else() -> None:
    run, task = f"run{random.random()}", "37+5/0"
    assert episode_id(run, 0, task, 0) == episode_id(run, 0, task, 0)
    ids = {
        episode_id(r, version, t, sample)
        for r in (run, "other")
        for version in range(3)
        for t in (task, "5+37/0", "")
        for sample in range(4)
    }
    assert len(ids) == 2 * 3 * 3 * 4
    assert all(len(i) == 32 for i in ids)
