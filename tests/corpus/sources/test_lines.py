import random
import tracemalloc
from collections.abc import Iterator

from corpus.sources.lines import TooLong, lines, within


def _cut(raw: bytes, rng: random.Random, start: int = 0) -> Iterator[bytes]:
    while start < len(raw):
        size = rng.randint(1, 40)
        yield raw[start : start + size]
        start += size


def _text(rng: random.Random) -> bytes:
    made = b"\n".join(b"x" * rng.choice([0, 1, 5, 30, 200]) for _ in range(rng.randint(0, 40)))
    return made + rng.choice([b"", b"\n", b"\n\n"])


def test_lines_are_those_of_splitting_and_long_ones_are_named() -> None:
    rng = random.Random()
    for _ in range(300):
        raw = _text(rng)
        limit = rng.choice([1, 5, 30, 1000])
        expected = raw.split(b"\n")
        if not expected[-1]:
            expected.pop()
        found = list(lines(_cut(raw, rng), limit))
        assert [len(x) if isinstance(x, bytes) else x.bytes for x in found] == list(
            map(len, expected)
        )
        assert all(
            isinstance(x, TooLong) == (len(e) > limit) for x, e in zip(found, expected, strict=True)
        )
        assert len({x.blake3 for x in found if isinstance(x, TooLong)}) == len(
            {e for e in expected if len(e) > limit}
        )


def test_ranges_give_every_line_once_wherever_they_are_cut() -> None:
    rng = random.Random()
    for _ in range(300):
        raw = _text(rng)
        size = rng.choice([1, 3, 17, 100, 1000])
        found: list[bytes | TooLong] = []
        for start in range(0, len(raw), size):
            end = start + size if start + size < len(raw) else None
            seek = max(start - 1, 0)
            found += lines(within(_cut(raw, rng, seek), start, end), 10_000)
        assert found == list(lines([raw], 10_000))


def test_a_line_of_100_mb_takes_bounded_memory() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"first\n"
        for _ in range(100):
            yield bytes(1 << 20)
        yield b"\nlast\n"

    tracemalloc.start()
    try:
        found = list(lines(pieces(), 8 << 20))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [found[0], found[2]] == [b"first", b"last"]
    assert isinstance(found[1], TooLong)
    assert found[1].bytes == 100 << 20
    assert peak < 24 << 20
