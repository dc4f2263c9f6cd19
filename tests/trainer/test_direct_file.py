import errno
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.checkpoint import direct_file
from trainer.checkpoint.direct_file import DirectFile
from trainer.parallel.aligned import aligned_empty


def write(path: Path, data: bytes) -> None:
    rng = random.Random()
    with DirectFile(path) as file:
        place = 0
        while place < len(data):
            size = rng.choice([1, 7, 4096, 100_000, 9 << 20])
            halves = [memoryview(data)[place : place + size // 2]]
            halves.append(memoryview(data)[place + size // 2 : place + size])
            file.write(halves)
            place += size


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 8 << 20, (8 << 20) + 1, 20_000_000])
def test_a_file_holds_what_was_written(tmp_path: Path, size: int) -> None:
    data = random.randbytes(size)
    write(tmp_path / "x", data)
    assert (tmp_path / "x").read_bytes() == data
    write(tmp_path / "x", data[: size // 3])  # over a longer one
    assert (tmp_path / "x").read_bytes() == data[: size // 3]


@pytest.mark.parametrize("refused", ["open", "write"])
def test_file_systems_without_direct_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    real_open, real_write = os.open, os.writev
    direct: list[bool] = []

    def opening(path: Path, flags: int, mode: int) -> int:
        direct.append(bool(flags & direct_file._DIRECT))
        if refused == "open" and direct[-1]:
            raise OSError(errno.EINVAL, "no direct writes here")
        return real_open(path, flags, mode)

    def writing(file: int, runs: list[memoryview]) -> int:
        import fcntl

        if refused == "write" and fcntl.fcntl(file, fcntl.F_GETFL) & direct_file._DIRECT:
            raise OSError(errno.EINVAL, "no direct writes here")
        return real_write(file, [runs[0][:1_000_000]])  # and not all at once

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "writev", writing)
    data = random.randbytes(20_000_001)
    write(tmp_path / "x", data)
    monkeypatch.undo()
    assert direct[0]
    assert (tmp_path / "x").read_bytes() == data


def test_a_full_disk_is_raised_and_the_file_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, runs: list[memoryview]) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", full)
        with pytest.raises(OSError, match="No space left"):
            write(tmp_path / "x", random.randbytes(9_000_000))
    held = {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
    assert str((tmp_path / "x").resolve()) not in held


def test_whole_pages_are_written_from_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aligned memory and other bytes in any order; only the others are copied."""
    shape = torch.Size([random.randint(2, 6) * 1024])
    (pages,) = aligned_empty([shape], torch.device("cpu"))
    pages.normal_()
    page = memoryview(pages.view(torch.uint8).numpy().data)
    head = memoryview(b"x" * 4096)  # as a shard's header: whole pages that lie anywhere
    pieces = [memoryview(b"odd"), page, page[:4096]]
    written: list[list[int]] = []
    real = os.writev

    def writing(file: int, runs: list[memoryview]) -> int:
        written.append([np.frombuffer(run, np.uint8).ctypes.data for run in runs])
        return real(file, runs)

    monkeypatch.setattr(os, "writev", writing)
    with DirectFile(tmp_path / "x") as file:
        for batch in ([head], [page[:4096], page], [page[4096:8192]], *([p] for p in pieces)):
            file.write(batch)
    whole = [head, page[:4096], page, page[4096:8192], *pieces]
    assert (tmp_path / "x").read_bytes() == b"".join(whole)
    first = pages.data_ptr()
    assert written[1:3] == [[first, first], [first + 4096]], "they were copied first"
