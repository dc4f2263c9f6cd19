"""Writes a token store: ``shard-N.tok``, ``.doc`` and ``.uid``, then ``store.json``.

``ShardWriter`` writes one shard's files wherever they are wanted, so that shards can be
work units written on different workers; ``TokenStoreWriter`` writes a whole store.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal

import numpy as np
from blake3 import blake3

from contracts.token_store import STORE_NAME, Shard, TokenStoreMeta

U16_VOCABULARY = 1 << 16


def token_dtype(vocab_size: int) -> Literal["uint16", "uint32"]:
    """The narrower of u16 and u32 that holds every id of the vocabulary."""
    return "uint16" if vocab_size <= U16_VOCABULARY else "uint32"


def shard_name(index: int) -> str:
    """Stem of a shard's files."""
    return f"shard-{index:05d}"


def write_meta(path: Path, meta: TokenStoreMeta) -> None:
    """Write ``store.json``; the same meta always gives the same bytes."""
    path.write_text(meta.model_dump_json(indent=1) + "\n", encoding="utf-8")


class ShardWriter:
    """Appends documents to the three files of one shard."""

    def __init__(
        self, name: str, domain: str, tok: Path, doc: Path, uid: Path, vocab_size: int, eos_id: int
    ) -> None:
        self.name = name
        self.domain = domain
        self.tokens = 0
        self.docs = 0
        self._vocab_size = vocab_size
        self._eos_id = eos_id
        self._code = "<u2" if token_dtype(vocab_size) == "uint16" else "<u4"
        self._hasher = blake3()
        self._tok: BinaryIO = open(tok, "wb")  # noqa: SIM115 - closed by close()
        self._doc: BinaryIO = open(doc, "wb")  # noqa: SIM115
        self._uid: BinaryIO = open(uid, "wb")  # noqa: SIM115

    def add(self, uid: int, ids: Sequence[int] | np.ndarray) -> None:
        """Append one document; the end-of-text token is added here.

        Args:
            uid: of the document, u64.
            ids: its token ids, shape (tokens,), without the end-of-text token.

        Raises:
            ValueError: an id outside the vocabulary; nothing of the document is written.
        """
        self.add_many(np.array([uid], dtype=np.uint64), [np.asarray(ids, dtype=np.int64)])

    def add_many(self, uids: np.ndarray, ids: Sequence[np.ndarray]) -> None:
        """Append documents; the end-of-text token is added after each.

        Args:
            uids: of the documents, shape (n,), u64.
            ids: token ids of each, integers of one type, without the end-of-text token.

        Raises:
            ValueError: an id outside the vocabulary; nothing is written.
        """
        if not len(uids):
            return
        sizes = np.array([len(document) + 1 for document in ids], dtype=np.int64)
        ends = np.cumsum(sizes)
        end = np.array([self._eos_id], dtype=ids[0].dtype)
        tokens = np.concatenate([piece for document in ids for piece in (document, end)])
        self._check(uids, ends, tokens)
        raw = tokens.astype(self._code).tobytes()
        self._hasher.update(raw)
        self._tok.write(raw)
        self._doc.write((ends + self.tokens).astype("<u8").tobytes())
        self._uid.write(uids.astype("<u8").tobytes())
        self.tokens += len(tokens)
        self.docs += len(uids)

    def _check(self, uids: np.ndarray, ends: np.ndarray, tokens: np.ndarray) -> None:
        if tokens.min() >= 0 and tokens.max() < self._vocab_size:
            return
        bad = int(np.flatnonzero((tokens < 0) | (tokens >= self._vocab_size))[0])
        document = int(np.searchsorted(ends, bad, side="right"))
        inside = tokens[ends[document - 1] if document else 0 : ends[document]]
        raise ValueError(
            f"document {uids[document]}: token ids {inside.min()}..{inside.max()} "
            f"outside the vocabulary of {self._vocab_size}"
        )

    def close(self) -> Shard:
        """Close the files; returns the shard's entry for ``store.json``."""
        for file in (self._tok, self._doc, self._uid):
            file.close()
        return Shard(
            name=self.name,
            domain=self.domain,
            tokens=self.tokens,
            docs=self.docs,
            blake3=self._hasher.hexdigest(),
        )


class TokenStoreWriter:
    """Writes a store into a directory, shard after shard.

    Use as a context manager: ``store.json`` is written where the block ends well.
    """

    def __init__(self, root: Path, *, tokenizer_blake3: str, vocab_size: int, eos_id: int) -> None:
        self.root = root
        self.meta = TokenStoreMeta(
            dtype=token_dtype(vocab_size),
            tokenizer_blake3=tokenizer_blake3,
            vocab_size=vocab_size,
            eos_id=eos_id,
        )
        self._open: ShardWriter | None = None
        root.mkdir(parents=True, exist_ok=True)

    def start_shard(self, domain: str) -> None:
        """Close the shard that is open and start the next one, for ``domain``."""
        self._finish_shard()
        name = shard_name(len(self.meta.shards))
        tok, doc, uid = (self.root / f"{name}.{suffix}" for suffix in ("tok", "doc", "uid"))
        self._open = ShardWriter(
            name, domain, tok, doc, uid, self.meta.vocab_size, self.meta.eos_id
        )

    def add(self, uid: int, ids: Sequence[int] | np.ndarray) -> None:
        """Append a document to the shard that is open (see ``ShardWriter.add``).

        Raises:
            ValueError: no shard was started, or an id is outside the vocabulary.
        """
        if self._open is None:
            raise ValueError("no shard is open: call start_shard(domain) first")
        self._open.add(uid, ids)

    def close(self) -> TokenStoreMeta:
        """Close the last shard and write ``store.json``."""
        self._finish_shard()
        write_meta(self.root / STORE_NAME, self.meta)
        return self.meta

    def _finish_shard(self) -> None:
        if self._open is None:
            return
        shard = self._open.close()
        self._open = None
        if shard.docs:
            self.meta.shards.append(shard)
            return
        # An empty file cannot be mapped, so a shard without documents does not exist.
        for suffix in ("tok", "doc", "uid"):
            (self.root / f"{shard.name}.{suffix}").unlink()

    def __enter__(self) -> "TokenStoreWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._finish_shard()
