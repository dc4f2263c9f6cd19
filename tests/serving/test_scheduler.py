import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.engine.blocks import BlockManager, OutOfBlocks
from serving.engine.plan import Limits, Plan, Sequence
from serving.engine.scheduler import Scheduler

SIZE = 4


def scheduler(blocks: int = 20, running: int = 3, chunk: int = 8, fixed: bool = False) -> Scheduler:
    return Scheduler(BlockManager(blocks, SIZE), Limits(running, chunk, fixed))


def sequence(name: str, prompt: list[int], priority: int = 0) -> Sequence:
    return Sequence(name, list(prompt), len(prompt), priority)


def check_plan(plan: Plan, scheduler: Scheduler) -> None:
    planned = [*plan.decode, *plan.prefill]
    assert len({c.sequence for c in planned}) == len(planned)
    for chunk in planned:
        assert chunk.sequence in scheduler.running
        assert chunk.start == chunk.sequence.computed
        end = chunk.start + chunk.count
        assert end <= len(chunk.sequence.tokens)
        assert len(chunk.sequence.table.blocks) * SIZE >= end
    assert all(chunk.count == 1 for chunk in plan.decode)
    assert sum(chunk.count for chunk in plan.prefill) <= scheduler.limits.chunk
    assert len(scheduler.running) <= scheduler.limits.max_running
    assert scheduler.running == sorted(scheduler.running, key=lambda s: s.key)
    assert scheduler.waiting == sorted(scheduler.waiting, key=lambda s: s.key)
    assert not set(scheduler.running) & set(scheduler.waiting)
    if scheduler.limits.fixed_chunks:
        for chunk in plan.prefill:
            assert chunk.start % scheduler.limits.chunk == 0
            left = chunk.sequence.prompt_length - chunk.start
            assert chunk.count == min(left, scheduler.limits.chunk)


def advance(scheduler: Scheduler, limit: dict[str, int], rng: random.Random) -> list[Sequence]:
    """One step with random tokens; those that reached their length leave."""
    plan = scheduler.plan()
    check_plan(plan, scheduler)
    ended = []
    for chunk in (*plan.decode, *plan.prefill):
        if scheduler.done(chunk):
            chunk.sequence.tokens.append(rng.randrange(3))
            if chunk.sequence.generated >= limit[chunk.sequence.id]:
                scheduler.remove(chunk.sequence)
                ended.append(chunk.sequence)
    return ended


def advance_contexts(scheduler: Scheduler, scoring: list[Sequence], rng: random.Random) -> None:
    """As scores do: who is next takes its blocks, and keeps them for a while."""
    for context in list(scheduler.contexts):
        if scheduler.is_next(context):
            try:
                scheduler.blocks.grow(context.table, len(context.tokens))
            except OutOfBlocks:
                continue
            scheduler.contexts.remove(context)
            scoring.append(context)
    for context in list(scoring):
        if rng.random() < 0.2:
            scheduler.blocks.release(context.table)
            scoring.remove(context)


@settings(max_examples=40)
@given(st.booleans(), st.integers(8, 40), st.integers(1, 6), st.integers(0, 1 << 30))
def test_everybody_ends_and_nothing_leaks(
    fixed: bool, blocks: int, running: int, seed: int
) -> None:
    rng = random.Random(seed)
    plans = scheduler(blocks, running, rng.choice([4, 8, 12]), fixed)
    capacity = plans.blocks.usable * SIZE
    limit: dict[str, int] = {}
    alive: list[Sequence] = []
    scoring: list[Sequence] = []
    ended = 0
    for step in range(1000):
        if rng.random() < 0.3:
            prompt = [rng.randrange(3) for _ in range(rng.randint(1, capacity - 2))]
            new = sequence(str(step), prompt, rng.choice([0, 0, 0, -1, 1]))
            limit[new.id] = rng.randint(1, capacity - len(prompt) - 1)
            plans.add(new)
            alive.append(new)
        if alive and rng.random() < 0.15:
            gone = alive.pop(rng.randrange(len(alive)))
            plans.remove(gone)
        if rng.random() < 0.01:
            plans.weights_changed()
        if rng.random() < 0.05:
            plans.add_context(sequence("context", [0] * rng.randint(1, capacity)))
        advance_contexts(plans, scoring, rng)
        for done in advance(plans, limit, rng):
            alive.remove(done)
            ended += 1
        held = {b for s in (*plans.running, *scoring) for b in s.table.blocks}
        assert plans.blocks.in_use == len(held)
    for _ in range(20_000):
        if not (plans.has_work or plans.contexts or scoring):
            break
        advance_contexts(plans, scoring, rng)
        ended += len(advance(plans, limit, rng))
    assert not plans.has_work
    assert not plans.contexts
    assert plans.blocks.in_use == 0
    assert ended > 0


def test_a_prompt_that_never_fits_is_refused() -> None:
    plans = scheduler(blocks=4)
    with pytest.raises(OutOfBlocks, match="12 tokens needs 4 cache blocks, there are 3"):
        plans.add(sequence("a", [1] * 12))
    plans.add(sequence("b", [1] * 11))
    assert plans.plan().tokens == 8


def test_prompts_go_on_in_chunks_while_others_decode() -> None:
    plans = scheduler()
    plans.add(sequence("short", [1, 2]))
    short = plans.waiting[0]
    (chunk,) = plans.plan().prefill
    assert plans.done(chunk)
    short.tokens.append(3)
    plans.add(sequence("long", list(range(20))))
    counts = []
    for _ in range(3):
        plan = plans.plan()
        assert [c.sequence for c in plan.decode] == [short]
        counts += [c.count for c in plan.prefill]
        asks = [c for c in (*plan.decode, *plan.prefill) if plans.done(c)]
        short.tokens.append(3)
    assert counts == [8, 8, 4]
    assert len(asks) == 2


def test_who_begins_alike_waits_for_the_blocks_of_this_step() -> None:
    plans = scheduler(running=4, chunk=80)
    start = [1, 2, 3, 4, 5, 6, 7, 8]
    plans.add(sequence("a", [*start, 10, 11]))
    plans.add(sequence("b", [*start, 20, 21]))
    plans.add(sequence("c", [*start, 30, 31]))
    plan = plans.plan()
    assert [chunk.sequence.id for chunk in plan.prefill] == ["a"]
    assert plans.done(plan.prefill[0])
    plan = plans.plan()
    assert [(c.sequence.id, c.start, c.count) for c in plan.prefill] == [("b", 8, 2), ("c", 8, 2)]


def test_who_shares_less_than_a_block_does_not_wait() -> None:
    plans = scheduler(running=4, chunk=80)
    plans.add(sequence("a", [1, 2, 3, 4, 5, 6]))
    plans.add(sequence("b", [1, 2, 3, 9, 5, 6]))
    plans.add(sequence("c", [1, 2, 3, 4]))
    assert len(plans.plan().prefill) == 3


def test_a_better_priority_runs_first_and_displaces() -> None:
    plans = scheduler(running=1)
    plans.add(sequence("late", [1] * 3, priority=2))
    plans.add(sequence("soon", [2] * 3, priority=1))
    (first,) = plans.plan().prefill
    assert first.sequence.id == "soon"
    plans.add(sequence("now", [3] * 3))
    (second,) = plans.plan().prefill
    assert second.sequence.id == "now"
    assert [s.id for s in plans.waiting] == ["soon", "late"]
    assert plans.preemptions == 1


def test_the_last_gives_way_and_computes_again() -> None:
    rng = random.Random()
    plans = scheduler(blocks=6, running=2)
    first, second = sequence("a", [1] * 7), sequence("b", [2] * 7)
    plans.add(first)
    plans.add(second)
    limit = {"a": 9, "b": 9}
    ended = []
    while plans.has_work:
        ended += [s.id for s in advance(plans, limit, rng)]
    assert ended == ["a", "b"]
    assert first.preemptions == 0
    assert second.preemptions > 0


@pytest.mark.parametrize(("fixed", "found"), [(False, 12), (True, 8)])
def test_a_shared_beginning_is_computed_once(fixed: bool, found: int) -> None:
    rng = random.Random()
    plans = scheduler(fixed=fixed)
    prompt = [rng.randrange(100) for _ in range(15)]
    plans.add(sequence("a", prompt))
    while plans.has_work:
        advance(plans, {"a": 1}, rng)
    plans.add(sequence("b", [*prompt, 5]))
    (chunk,) = plans.plan().prefill
    assert chunk.start == found
    assert plans.blocks.hits == found


def test_nothing_old_is_shared_once_the_weights_have_changed() -> None:
    rng = random.Random()
    plans = scheduler()
    prompt = [rng.randrange(100) for _ in range(15)]
    plans.add(sequence("a", prompt))
    advance(plans, {"a": 2}, rng)
    plans.weights_changed()
    while plans.has_work:
        advance(plans, {"a": 9}, rng)
    plans.add(sequence("b", prompt))
    assert plans.plan().prefill[0].start == 0


def test_a_context_waits_in_line_with_the_others() -> None:
    rng = random.Random()
    plans = scheduler(blocks=6, running=3)
    limit = {name: 4 for name in ("before", "first", "behind", "better")}
    plans.add(sequence("before", [1] * 9))
    advance(plans, limit, rng)
    advance(plans, limit, rng)
    plans.add(sequence("first", [2] * 9))
    context = sequence("context", [3] * 20)
    plans.add_context(context)
    plans.add(sequence("behind", [4]))
    assert not plans.is_next(context)
    started: list[str] = []
    for _ in range(20):
        advance(plans, limit, rng)
        started += [s.id for s in plans.running if s.id not in started]
        if plans.is_next(context) and not plans.running:
            break
    assert started == ["before", "first"]
    plans.blocks.grow(context.table, 20)
    plans.add(sequence("better", [5], priority=-1))
    plans.blocks.release(context.table)
    advance(plans, limit, rng)
    assert [s.id for s in plans.running] == ["better"]
    plans.contexts.remove(context)
    while plans.has_work:
        advance(plans, limit, rng)
    with pytest.raises(OutOfBlocks, match="21 tokens needs 6 cache blocks, there are 5"):
        plans.add_context(sequence("too long", [1] * 21))


def test_a_chunk_is_whole_blocks() -> None:
    with pytest.raises(ValueError, match="no multiple"):
        scheduler(chunk=6)
