import bz2
import gzip
import io
import lzma
import random
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard

from corpus.sources.decompress import STREAM_ERRORS, open_text, pieces

PACK = {
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def _noise(size: int) -> bytes:
    rng = random.Random()
    return bytes(rng.choices(b"abcdefgh \n", k=size))


@pytest.mark.parametrize("ending", PACK)
def test_members_that_follow_each_other_are_one_stream(ending: str) -> None:
    raw = _noise(50_000)
    for cuts in ([0, 50_000], [0, 1, 20_000, 50_000]):
        parts = [PACK[ending](raw[a:b]) for a, b in pairwise(cuts)]
        stream = io.BytesIO(b"".join(parts))
        assert b"".join(pieces(stream, f"x{ending}")) == raw


@pytest.mark.parametrize("ending", ["", *PACK])
def test_text_is_read_through_all_members_and_a_cut_is_said(tmp_path: Path, ending: str) -> None:
    text = "".join(random.choices("aé汉\n ", k=60_000))
    halves = [part.encode() for part in (text[:30_000], text[30_000:])]
    raw = b"".join(map(PACK.get(ending, bytes), halves))
    path = tmp_path / f"x{ending}"
    path.write_bytes(raw)
    with open_text(path) as stream:
        assert stream.read() == text
    with open_text(path) as stream:
        assert list(stream) == text.splitlines(keepends=True)
    if ending:
        path.write_bytes(raw[:-9])
        with pytest.raises(STREAM_ERRORS), open_text(path) as stream:
            stream.read()


@pytest.mark.parametrize("ending", PACK)
def test_a_cut_stream_gives_what_stood_before_and_raises(ending: str) -> None:
    raw = _noise(2_500_000)
    packed = PACK[ending](raw)
    found, error = _until_broken(packed[: len(packed) * 2 // 3], ending)
    assert isinstance(error, STREAM_ERRORS)
    before = b"".join(found)
    assert raw.startswith(before)
    assert len(before) > len(raw) // 4


def _until_broken(packed: bytes, ending: str) -> tuple[list[bytes], Exception | None]:
    found: list[bytes] = []
    try:
        for piece in pieces(io.BytesIO(packed), f"x{ending}"):
            found.append(piece)
    except STREAM_ERRORS as error:
        return found, error
    return found, None


@pytest.mark.parametrize("ending", PACK)
def test_what_was_never_compressed_raises(ending: str) -> None:
    with pytest.raises(STREAM_ERRORS):
        list(pieces(io.BytesIO(b"plain text, no stream"), f"x{ending}"))


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz"])
def test_a_small_file_that_unpacks_to_much_comes_in_small_pieces(ending: str) -> None:
    packed = PACK[ending](bytes(60 << 20))
    tracemalloc.start()
    try:
        sizes = [len(piece) for piece in pieces(io.BytesIO(packed), f"x{ending}")]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(sizes) == 60 << 20
    assert peak < 16 << 20
