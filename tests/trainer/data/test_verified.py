"""Which token stores are read again before training, and which are not."""

import os
import random
import shutil
import time
from pathlib import Path

import pytest

from corpus.token_store import TokenStore
from tests.trainer.inputs import Inputs
from trainer.data import verified
from trainer.data.verified import damage_of

TICK_SECONDS = 0.05
"""More than the steps in which file systems count time."""


@pytest.fixture
def tokens(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of its own, left alone for a moment; longer is not asked for."""
    folder = tmp_path / "tokens"
    shutil.copytree(inputs.tokens.path("tokens"), folder)
    monkeypatch.setattr(verified, "SETTLED_SECONDS", TICK_SECONDS / 2)
    time.sleep(TICK_SECONDS)
    return folder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The splits whose bytes were read, in order."""
    seen: list[str] = []
    verify = TokenStore.verify

    def watched(store: TokenStore) -> list[str]:
        seen.append(store.root.name)
        return verify(store)

    monkeypatch.setattr(TokenStore, "verify", watched)
    return seen


def test_what_was_compared_is_not_read_again_unless_forced(
    tokens: Path, tmp_path: Path, read: list[str]
):
    note = tmp_path / "note.json"
    for _ in range(3):
        assert damage_of(tokens, note) == ""
    assert read == ["train", "validation"]
    assert damage_of(tokens, note, force=True) == ""
    assert read == ["train", "validation"] * 2


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_changed_byte_is_found_whatever_the_note_says(tokens: Path, tmp_path: Path, split: str):
    note = tmp_path / "note.json"
    assert damage_of(tokens, note) == ""
    (shard, *_) = sorted((tokens / split).glob("*.tok"))
    before = shard.stat()
    chance = random.Random()
    spoilt = bytearray(shard.read_bytes())
    spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
    shard.write_bytes(spoilt)
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a careless copy would
    for _ in range(2):  # and it stays found
        assert f"{shard}: blake3" in damage_of(tokens, note)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"train": 1}'])
def test_a_note_that_is_no_note_is_not_believed(
    tokens: Path, tmp_path: Path, read: list[str], content: str
):
    note = tmp_path / "note.json"
    note.write_text(content)
    assert damage_of(tokens, note) == ""
    assert read == ["train", "validation"]


def test_a_store_that_was_touched_is_read_again(tokens: Path, tmp_path: Path, read: list[str]):
    note = tmp_path / "note.json"
    assert damage_of(tokens, note) == ""
    (shard, *_) = sorted((tokens / "train").glob("*.tok"))
    os.utime(shard, ns=(1, 1))
    assert damage_of(tokens, note) == ""
    assert read == ["train", "validation"] * 2


def test_a_store_that_is_still_fresh_is_not_noted(
    tokens: Path, tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
):
    """A change within the same tick of the clock would not show."""
    monkeypatch.setattr(verified, "SETTLED_SECONDS", 1e6)
    for _ in range(2):
        assert damage_of(tokens, tmp_path / "note.json") == ""
    assert read == ["train", "validation"] * 2
