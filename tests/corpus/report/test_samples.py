"""Examples: bounded, and the same in any order and however they are shared out."""

import random
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from corpus.report.samples import Samples, read_samples, write_samples


def records(rng: random.Random, count: int = 400) -> list[tuple[str, str, int, dict[str, Any]]]:
    return [
        (
            rng.choice(["rules", "dedup"]),
            rng.choice(["", "short", "long"]),
            rng.getrandbits(64) if rng.random() < 0.8 else rng.randrange(5),
            {"source": "web", "lang": "en", "text": f"text {rng.random()}", "score": rng.random()},
        )
        for _ in range(count)
    ]


def collect(rows: list[tuple[str, str, int, dict[str, Any]]], **options: int) -> Samples:
    samples = Samples(seed=7, **options)
    for step, reason, uid, more in rows:
        samples.offer(step, reason, uid, **more)
    return samples


def test_order_and_sharing_change_nothing(tmp_path: Path) -> None:
    rng = random.Random()
    rows = records(rng)
    whole = collect(rows)
    shuffled = rng.sample(rows, len(rows))
    merged = Samples(seed=7)
    for part in range(5):
        path = tmp_path / f"{part}.jsonl"
        write_samples(path, collect(shuffled[part::5]))
        merged.merge(read_samples(path))
    assert merged.all() == whole.all() == collect(shuffled).all()
    for name, samples in (("a", whole), ("b", merged)):
        write_samples(tmp_path / name, samples)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_few_of_every_reason_chosen_by_the_seed() -> None:
    rows = records(random.Random())
    found = collect(rows, each=3).all()
    keys = {(step, reason) for step, reason, _, _ in rows}
    assert {(sample.step, sample.reason) for sample in found} == keys
    for key in keys:
        assert sum((sample.step, sample.reason) == key for sample in found) == 3
    other = Samples(seed=8, each=3)
    for step, reason, uid, more in rows:
        other.offer(step, reason, uid, **more)
    assert other.all() != found


def test_long_and_broken_text_is_cut_and_cleaned(tmp_path: Path) -> None:
    samples = Samples(seed=1, max_chars=10)
    samples.offer("read", "x", 2**64 - 1, source="a\udcff", lang="und", text="\ud800" + "y" * 50)
    write_samples(tmp_path / "s.jsonl", samples)
    (sample,) = read_samples(tmp_path / "s.jsonl")
    assert sample.text == "?" + "y" * 9
    assert sample.source == "a?"


def test_what_is_no_sample_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(ValidationError):
        read_samples(tmp_path / "s.jsonl")
