"""Text as token windows: what scales are searched on, and what perplexity is taken on."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clusters.artifact import Artifact
from clusters.config import ConfigError
from contracts.manifest import MANIFEST_NAME, hash_file
from contracts.token_store import STORE_NAME, TokenStoreMeta, shard_tokens
from serving.folder import ModelFolder

HELD_OUT = 0.2
"""Share of a text, its end, that perplexity is taken on where no other text is given."""
MIN_WINDOWS = 4
"""Fewer windows say too little of a layer's inputs."""
MOST_TOKENS = 1 << 23
"""Tokens that are taken from a store, from each shard alike."""


@dataclass(frozen=True)
class Text:
    """Token ids, and where they came from."""

    ids: np.ndarray
    """Shape (tokens,)."""
    source: str

    def split(self) -> tuple["Text", "Text"]:
        """The beginning, to calibrate on, and the end, held out."""
        cut = int(len(self.ids) * (1 - HELD_OUT))
        return Text(self.ids[:cut], self.source), Text(self.ids[cut:], self.source)

    def windows(self, count: int, length: int, at_least: int = 1) -> list[list[int]]:
        """At most ``count`` windows of ``length`` tokens, apart, spread evenly.

        Raises:
            ConfigError: there is not text enough for ``at_least`` of them.
        """
        whole = len(self.ids) // length
        if whole < at_least:
            raise ConfigError(
                f"{self.source}: {len(self.ids)} tokens, at least {at_least * length} are needed "
                f"({at_least} windows of {length}); give more text, or shorter windows"
            )
        count = min(count, whole)
        starts = [index * whole // count * length for index in range(count)]
        return [self.ids[start : start + length].tolist() for start in starts]


def read_text(path: Path, tokenizer_dir: Path, split: str) -> Text:
    """The tokens of a token store, a text file, or a JSON Lines file with ``text``.

    Args:
        path: a store, a folder with ``train`` and ``validation`` stores, an artifact of kind
            ``tokens``, ``runs/NAME/tokens``, or a file.
        tokenizer_dir: model directory whose tokenizer reads files.
        split: ``train`` or ``validation``, where there are both.

    Raises:
        ConfigError: nothing there, empty, unreadable, or made with another tokenizer.
    """
    if path.is_dir():
        store = find_store(path, split)
        if store is None:
            raise ConfigError(f"{path}: no {STORE_NAME} in it, in {split} or in tokens/{split}")
        return _from_store(store, tokenizer_dir)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; give a token store, .txt, .md or .jsonl")
    from serving.tokenizer import ChatTokenizer

    tokenizer = ChatTokenizer.load(tokenizer_dir).plain
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    ids: list[int] = []
    for document in _documents(path):
        # Not verbose: text longer than the context is what windows are cut from.
        ids += [*tokenizer.encode(document, add_special_tokens=False, verbose=False), *end]
    if len(ids) <= len(end):
        raise ConfigError(f"{path}: no text in it")
    return Text(np.asarray(ids, dtype=np.int64), str(path))


def _documents(path: Path) -> Iterator[str]:
    try:
        if path.suffix not in (".jsonl", ".ndjson"):
            yield path.read_text(encoding="utf-8")
            return
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _text_of(line, f"{path}:{number}")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 ({error}); convert it first") from error


def _text_of(line: str, where: str) -> str:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{where}: no JSON: {error}") from error
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise ConfigError(f'{where}: no field "text" with a string')
    return text


def find_store(path: Path, split: str) -> Path | None:
    """The token store of a split in a folder, artifact or run; or the folder, where it is one."""
    if (path / MANIFEST_NAME).is_file():
        path = Artifact.open(path).root
    candidates = (path, path / split, path / "tokens" / split)
    return next((place for place in candidates if (place / STORE_NAME).is_file()), None)


def _from_store(root: Path, tokenizer_dir: Path) -> Text:
    try:
        meta = TokenStoreMeta.model_validate_json((root / STORE_NAME).read_text(encoding="utf-8"))
        parts: Sequence[np.ndarray] = [shard_tokens(root, meta, shard) for shard in meta.shards]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{root}: unreadable token store: {error}") from error
    tokenizer = tokenizer_dir / "tokenizer.json"
    if tokenizer.is_file() and hash_file(tokenizer)[1] != meta.tokenizer_blake3:
        raise ConfigError(
            f"{root / STORE_NAME}: made with another tokenizer than {tokenizer}; "
            "tokenise the text again, or give it as a file"
        )
    if not parts:
        raise ConfigError(f"{root / STORE_NAME}: an empty token store")
    share = MOST_TOKENS // len(parts)
    return Text(np.concatenate([part[:share] for part in parts]), str(root))


def window_length(model_dir: Path, wanted: int) -> int:
    """Tokens per window: what is wanted, or the model's context where that is shorter."""
    limit = getattr(ModelFolder(model_dir).config, "max_position_embeddings", None)
    return min(wanted, limit) if limit else wanted
