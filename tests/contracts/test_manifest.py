import hashlib
import json
import random
from pathlib import Path

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from contracts.manifest import (
    ExternalInput,
    FileEntry,
    Manifest,
    Parent,
    canonical_json,
    digest,
    fingerprint,
    hash_bytes,
    hash_file,
)

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
CONFIGS = st.dictionaries(NAMES, VALUES, max_size=5)
FILES = st.lists(
    st.builds(FileEntry, name=NAMES, path=NAMES, bytes=st.integers(0, 2**40), blake3=NAMES),
    max_size=6,
)


def shuffled(value: object) -> object:
    """The same JSON value with its keys in another order."""
    if isinstance(value, dict):
        items = [(key, shuffled(inner)) for key, inner in value.items()]
        random.shuffle(items)
        return dict(items)
    return [shuffled(inner) for inner in value] if isinstance(value, list) else value


@given(VALUES)
def test_canonical_json_is_json_and_one_spelling(value: object) -> None:
    assert json.loads(canonical_json(value)) == value
    assert canonical_json(shuffled(value)) == canonical_json(value)


@given(st.binary(max_size=200))
def test_hash_is_blake3(data: bytes) -> None:
    assert hash_bytes(data) == blake3(data).hexdigest()


def test_hash_known_answer() -> None:
    # https://github.com/BLAKE3-team/BLAKE3: the hash of no bytes at all.
    empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert hash_bytes(b"") == empty


def test_a_file_in_pieces_hashes_as_one(tmp_path: Path) -> None:
    for size in [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20]:
        data = random.randbytes(size)
        path = tmp_path / "data"
        path.write_bytes(data)
        assert hash_file(path) == (size, blake3(data).hexdigest())


@given(CONFIGS)
def test_fingerprint_ignores_the_order_of_keys(config: dict) -> None:
    assert fingerprint("a.b", 1, shuffled(config)) == fingerprint("a.b", 1, config)


@given(CONFIGS, CONFIGS)
def test_fingerprint_tells_configs_apart(one: dict, other: dict) -> None:
    same = canonical_json(one) == canonical_json(other)
    assert (fingerprint("a.b", 1, one) == fingerprint("a.b", 1, other)) is same


def test_fingerprint_tells_stage_version_parents_and_inputs_apart() -> None:
    parent = Parent(role="tokens", kind="tokens", fingerprint="f", digest="d")
    other = Parent(role="base", kind="tokens", fingerprint="f", digest="d")
    file = ExternalInput(name="a", bytes=1, blake3="x")
    asked = [
        fingerprint("a.b", 1, {}),
        fingerprint("a.c", 1, {}),
        fingerprint("a.b", 2, {}),
        fingerprint("a.b", 1, {}, [parent]),
        fingerprint("a.b", 1, {}, [other]),
        fingerprint("a.b", 1, {}, [parent, other]),
        fingerprint("a.b", 1, {}, [other, parent]),
        fingerprint("a.b", 1, {}, [parent.model_copy(update={"digest": "e"})]),
        fingerprint("a.b", 1, {}, [], [file]),
        fingerprint("a.b", 1, {}, [], [file, file.model_copy(update={"name": "b"})]),
        fingerprint("a.b", 1, {}, [], [file.model_copy(update={"blake3": "y"})]),
    ]
    assert len(set(asked)) == len(asked)


def test_fingerprint_follows_a_parents_content_not_its_recipe() -> None:
    one = Parent(role="tokens", kind="tokens", fingerprint="asked so", digest="d")
    other = one.model_copy(update={"fingerprint": "asked otherwise"})
    assert fingerprint("a.b", 1, {}, [one]) == fingerprint("a.b", 1, {}, [other])


def test_fingerprint_ignores_the_order_of_external_inputs() -> None:
    files = [ExternalInput(name=str(i), bytes=i, blake3=f"{i}") for i in range(9)]
    mixed = random.sample(files, len(files))
    assert fingerprint("a.b", 1, {}, [], mixed) == fingerprint("a.b", 1, {}, [], files)


@given(FILES)
def test_digest_ignores_order_place_and_attempt(files: list[FileEntry]) -> None:
    moved = [entry.model_copy(update={"path": f"other/{entry.path}"}) for entry in files]
    random.shuffle(moved)
    assert digest(moved) == digest(files)


@given(FILES.filter(bool))
def test_digest_follows_names_and_contents(files: list[FileEntry]) -> None:
    first, *rest = files
    renamed = first.model_copy(update={"name": first.name + "x"})
    changed = first.model_copy(update={"blake3": first.blake3 + "x"})
    asked = [files, rest, [renamed, *rest], [changed, *rest]]
    assert len({digest(entries) for entries in asked}) == 4


def test_known_answers() -> None:
    # Written out by hand: a change here makes every artifact of every store stale.
    spelled = (
        b'{"config":{"a":1,"b":[true,null]},"external":[["n",3,"x"]],'
        b'"parents":[["role","d"]],"stage":"room.verb","version":2}'
    )
    parent = Parent(role="role", kind="k", fingerprint="f", digest="d")
    file = ExternalInput(name="n", bytes=3, blake3="x")
    config = {"b": [True, None], "a": 1}
    asked = fingerprint("room.verb", 2, config, [parent], [file])
    assert asked == blake3(spelled).hexdigest()
    entry = FileEntry(name="n", path="attempt/n", bytes=3, blake3="x")
    assert digest([entry]) == blake3(b'[["n","x"]]').hexdigest()
    assert digest([]) == blake3(b"[]").hexdigest()
    assert hashlib.sha256(spelled).hexdigest() != asked


@given(CONFIGS, FILES)
def test_a_manifest_survives_its_file(config: dict, files: list[FileEntry]) -> None:
    manifest = Manifest(
        kind="k",
        stage="room.verb",
        version=1,
        fingerprint="f",
        digest=digest(files),
        attempt="a",
        config=config,
        files=files,
        stats={"in": {"documents": 3}},
    )
    again = Manifest.model_validate_json(manifest.model_dump_json(indent=1))
    assert again == manifest
