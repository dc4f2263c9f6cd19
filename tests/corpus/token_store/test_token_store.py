"""Writing and reading a token store, and what damage does."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.token_store import ShardWriter, TokenStore, TokenStoreError, TokenStoreWriter

EOS = 2


def random_documents(vocab_size: int, count: int = 40) -> dict[int, list[int]]:
    rng = random.Random()
    return {
        rng.getrandbits(64): [rng.randrange(vocab_size) for _ in range(rng.randrange(0, 60))]
        for _ in range(count)
    }


def write(root: Path, docs: dict[int, list[int]], vocab_size: int = 4096) -> TokenStore:
    with TokenStoreWriter(root, tokenizer_blake3="t", vocab_size=vocab_size, eos_id=EOS) as writer:
        writer.start_shard("web")
        for uid, ids in docs.items():
            writer.add(uid, ids)
    return TokenStore.open(root)


@pytest.mark.parametrize(
    ("vocab_size", "width", "dtype"),
    [(4096, 2, np.uint16), (1 << 16, 2, np.uint16), (70_000, 4, np.uint32)],
)
def test_what_was_written_is_read(tmp_path: Path, vocab_size: int, width: int, dtype: type) -> None:
    docs = random_documents(vocab_size)
    store = write(tmp_path, docs, vocab_size)
    stream = [token for ids in docs.values() for token in [*ids, EOS]]
    assert store.num_tokens == len(stream)
    assert (tmp_path / "shard-00000.tok").stat().st_size == width * len(stream)
    window = store.window(0, 0, len(stream))
    assert window.dtype == dtype
    assert window.tolist() == stream
    inside = store.documents(0, 0, len(stream))
    assert inside.uids.tolist() == list(docs)
    assert np.diff(inside.cu_seqlens).tolist() == [len(ids) + 1 for ids in docs.values()]
    assert store.verify() == []


def test_windows_are_views_of_the_file(tmp_path: Path) -> None:
    store = write(tmp_path, random_documents(4096))
    window = store.window(0, 3, 50)
    assert not window.flags.writeable
    assert window.base is not None
    assert np.shares_memory(window, store.window(0, 0, 60))


def test_domains_and_shards_without_documents(tmp_path: Path) -> None:
    with TokenStoreWriter(tmp_path, tokenizer_blake3="t", vocab_size=10, eos_id=0) as writer:
        writer.start_shard("empty")
        writer.start_shard("b")
        writer.add(1, [1, 2])
        writer.start_shard("a")
        writer.add(2, [])
        writer.start_shard("b")
        writer.add(3, [4])
    store = TokenStore.open(tmp_path)
    assert store.domains == ["a", "b"]
    assert store.domain_tokens() == {"a": 1, "b": 5}
    assert sorted(p.name for p in tmp_path.glob("*.tok")) == [
        f"shard-0000{i}.tok" for i in range(3)
    ]


def test_ids_outside_the_vocabulary_are_refused_whole(tmp_path: Path) -> None:
    paths = [tmp_path / f"s.{suffix}" for suffix in ("tok", "doc", "uid")]
    writer = ShardWriter("s", "web", *paths, vocab_size=10, eos_id=0)
    for bad in ([1, 10], [-1, 2]):
        with pytest.raises(ValueError, match=r"document 7: token ids .* vocabulary of 10"):
            writer.add(7, bad)
    writer.add(8, [9])
    shard = writer.close()
    assert [shard.tokens, shard.docs] == [2, 1]


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    write(tmp_path, random_documents(4096))
    assert TokenStore.open(tmp_path, "t").meta.tokenizer_blake3 == "t"
    with pytest.raises(TokenStoreError, match="made with tokenizer t, not other"):
        TokenStore.open(tmp_path, "other")


@pytest.mark.parametrize("suffix", ["tok", "doc", "uid"])
def test_a_cut_or_missing_file_is_named(tmp_path: Path, suffix: str) -> None:
    write(tmp_path, random_documents(4096))
    path = tmp_path / f"shard-00000.{suffix}"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(TokenStoreError, match=f"shard-00000.{suffix}: .* bytes"):
        TokenStore.open(tmp_path)
    path.unlink()
    with pytest.raises(TokenStoreError, match=f"shard-00000.{suffix}: missing"):
        TokenStore.open(tmp_path)


def test_a_flipped_bit_is_found_by_verify(tmp_path: Path) -> None:
    write(tmp_path, random_documents(4096))
    path = tmp_path / "shard-00000.tok"
    raw = bytearray(path.read_bytes())
    raw[random.randrange(len(raw))] ^= 1
    path.write_bytes(raw)
    assert any("shard-00000.tok: blake3" in line for line in TokenStore.open(tmp_path).verify())


def test_boundaries_that_do_not_rise_are_found_by_verify(tmp_path: Path) -> None:
    write(tmp_path, random_documents(4096))
    path = tmp_path / "shard-00000.doc"
    ends = np.fromfile(path, dtype="<u8")
    ends[:2] = ends[1::-1]
    ends.tofile(path)
    assert any("do not increase" in line for line in TokenStore.open(tmp_path).verify())


def test_no_store_and_a_broken_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(TokenStoreError, match=r"store.json: missing"):
        TokenStore.open(tmp_path)
    (tmp_path / "store.json").mkdir()
    with pytest.raises(TokenStoreError, match=r"store.json: unreadable: .*directory"):
        TokenStore.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"vocab_size": "many"}, r"unreadable: vocab_size: .*integer.*, got 'many'; remove"),
        ({"vocab": 3}, r"unreadable: vocab: unknown key .did you mean 'vocab_size'"),
        ({"eos_id": None}, "unreadable: eos_id: .*, got None; remove the store and tokenise again"),
        ({"shards": [{"name": "shard-00000"}]}, r"unreadable: shards\.0\.domain: missing"),
    ],
)
def test_a_broken_store_says_which_key_and_what_to_do(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    write(tmp_path, {1: [5] * 9})
    path = tmp_path / "store.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(TokenStoreError, match=said) as caught:
        TokenStore.open(tmp_path)
    assert str(path) in str(caught.value)
    assert "pydantic" not in str(caught.value)
    path.write_text(path.read_text()[: path.stat().st_size // 2])
    with pytest.raises(TokenStoreError, match=r"unreadable: Invalid JSON: .* line \d+"):
        TokenStore.open(tmp_path)


def test_a_window_outside_the_shard_is_refused(tmp_path: Path) -> None:
    store = write(tmp_path, {1: [5] * 9})
    for start, length in ((0, 11), (10, 1), (-1, 3), (0, 0)):
        with pytest.raises(IndexError, match="outside its 10 tokens"):
            store.window(0, start, length)


def test_the_same_documents_give_the_same_bytes(tmp_path: Path) -> None:
    docs = random_documents(4096)
    for name in ("a", "b"):
        write(tmp_path / name, docs)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
