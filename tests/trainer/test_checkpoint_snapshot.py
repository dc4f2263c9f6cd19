"""A checkpoint read while training goes on is of one step, however slow its writer is."""

import random
import threading
import time
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.trainer.ranks import VOCABULARY, NoTokenizer, Rows, Run
from trainer.checkpoint import CheckpointStore, Policy, snapshot
from trainer.checkpoint.direct_file import DirectFile
from trainer.checkpoint.shard_file import ShardReader
from trainer.checkpoint.snapshot import Snapshot
from trainer.cursor import Cursor
from trainer.models.llama import DTYPES, new_model
from trainer.parallel.choose import make_stepper
from trainer.parallel.fragments import Fragment
from trainer.step import forward_backward


@pytest.fixture
def fragments(monkeypatch: pytest.MonkeyPatch) -> list[Fragment]:
    """Random ones of random sizes, read in many batches."""
    monkeypatch.setattr(snapshot, "_BATCH", 1000)
    sizes = [random.choice([random.randint(1, 99), random.randint(1, 9000)]) for _ in range(20)]
    return [Fragment("master", f"p{n}", 0, torch.randn(size)) for n, size in enumerate(sizes)]


def bytes_of(fragments: list[Fragment]) -> bytes:
    return b"".join(fragment.values.numpy().tobytes() for fragment in fragments)


@pytest.mark.parametrize("again", range(3))
def test_a_slow_reader_sees_what_was_taken(fragments: list[Fragment], again: int) -> None:
    """Again and again with the same buffers; the change comes at any time."""
    taken = Snapshot()
    for _ in range(5):
        wanted, found = bytes_of(fragments), bytearray()

        def read(into: bytearray = found) -> None:
            for batch in taken.batches():
                time.sleep(random.choice([0, 0.002]))
                into += b"".join(batch)
            taken.release()

        taken.take(fragments)
        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(2):  # the second change of two has nothing left to wait for
            time.sleep(random.random() * 0.05)
            taken.before_change()
            for fragment in fragments:
                fragment.values.normal_()
        reader.join()
        assert bytes(found) == wanted


def test_a_change_before_the_reader_begins(fragments: list[Fragment]) -> None:
    taken, wanted = Snapshot(), bytes_of(fragments)
    taken.take(fragments)
    taken.before_change()
    for fragment in fragments:
        fragment.values.zero_()
    assert b"".join(chain.from_iterable(taken.batches())) == wanted


def test_a_change_waits_for_the_batch_that_is_read_and_for_no_other(
    fragments: list[Fragment],
) -> None:
    taken = Snapshot()
    taken.take(fragments)
    batches = taken.batches()
    held = next(batches)
    wanted = b"".join(held)
    change = threading.Thread(target=taken.before_change)
    change.start()
    change.join(0.1)
    assert change.is_alive(), "a batch may change while it is read"
    assert b"".join(held) == wanted
    next(batches)
    change.join(300)
    assert not change.is_alive()


def test_a_reader_that_gave_up_is_not_waited_for(fragments: list[Fragment]) -> None:
    taken = Snapshot()
    taken.take(fragments)
    next(taken.batches())
    change = threading.Thread(target=taken.before_change, daemon=True)
    change.start()
    taken.release()
    change.join(300)
    assert not change.is_alive()


def check_saved_while_stepping(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are taken while a slow writer writes: what it wrote is the state of one step."""
    config = run.config
    model = new_model(config.model, VOCABULARY, NoTokenizer(), run.seed, DTYPES[config.precision])
    stepper = make_stepper(config, model)
    rows, per_pass = Rows(run.seed), config.rows_per_pass(stepper.data_ranks)
    write, waited = DirectFile.write, []

    def slow(file: DirectFile, runs: list[memoryview]) -> None:
        time.sleep(0.01)
        write(file, runs)

    def step(number: int) -> None:
        samples = list(range(number * config.batch, (number + 1) * config.batch))
        forward_backward(samples, rows, stepper, per_pass, "test")
        stepper.step(1e-2)

    monkeypatch.setattr(DirectFile, "write", slow)
    monkeypatch.setattr(snapshot, "_BATCH", 1000)
    store = CheckpointStore(folder, prefix="test", policy=Policy(asynchronous=True))
    for number in range(4):
        step(number)
        wanted = {fragment.key: fragment.values.clone() for fragment in stepper.owned()}
        store.save(stepper, Cursor(number + 1, number), [])
        step(number + 100)
        waited.append(store._task._thread.is_alive())
        changed = [f.key for f in stepper.owned() if not torch.equal(f.values, wanted[f.key])]
        store.wait(stepper)
        (part,) = folder.glob(f"step-{number + 1:08d}.*/rank-{stepper.rank:05d}-*.safetensors")
        for fragment in stepper.owned():
            found = torch.zeros_like(fragment.values)
            place = (fragment.kind, fragment.parameter, fragment.start)
            ShardReader([part]).fill([Fragment(*place, found)])
            assert torch.equal(found, wanted[fragment.key]), fragment.key
        assert changed, "the step changed nothing"
        stepper.share(None)
    assert any(waited), "every save was over before the next step"


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_saved_while_one_process_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    run = Run(str(tmp_path), {"workers": 1}, random.randrange(1000), precision=precision)
    check_saved_while_stepping(run, tmp_path, monkeypatch)


LAYOUTS: list[dict[str, Any]] = [
    {"zero_stage": 1},
    {"zero_stage": 2},
    {"zero_stage": 3},
    {"zero_stage": 0},
    {"zero_stage": 1, "shard_group": 2},
]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_saved_while_two_processes_step(tmp_path: Path, precision: str) -> None:
    mp.spawn(_rank, (2, str(tmp_path), precision), nprocs=2)


def _rank(rank: int, ranks: int, folder: str, precision: str) -> None:
    import os

    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks))
    place = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=ranks)
    for number, layout in enumerate(LAYOUTS):
        run = Run(folder, {"workers": 2, **layout}, seed=number, precision=precision)
        with pytest.MonkeyPatch.context() as patch:
            check_saved_while_stepping(run, Path(folder) / str(number), patch)
    dist.barrier()
    dist.destroy_process_group()
