"""Reads a token store by memory map; nothing is copied."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from clusters.config import explain_json
from clusters.stage import StageError
from contracts.manifest import hash_file
from contracts.token_store import (
    STORE_NAME,
    Shard,
    TokenStoreMeta,
    shard_ends,
    shard_tokens,
    shard_uids,
)
from corpus.token_store.writer import token_dtype


class TokenStoreError(StageError):
    """A token store is missing, damaged, or made with another tokenizer."""


@dataclass(frozen=True)
class WindowDocuments:
    """The documents that a window of tokens touches, in order."""

    uids: np.ndarray
    """Shape (docs,), u64."""
    cu_seqlens: np.ndarray
    """Shape (docs + 1,), int32: document i is ``window[cu[i]:cu[i + 1]]``."""


class TokenStore:
    """An open token store."""

    def __init__(self, root: Path, meta: TokenStoreMeta) -> None:
        self.root = root
        self.meta = meta
        self._tokens = [_view(shard_tokens(root, meta, shard)) for shard in meta.shards]
        self._ends = [_view(shard_ends(root, shard)) for shard in meta.shards]
        self._uids = [_view(shard_uids(root, shard)) for shard in meta.shards]

    @classmethod
    def open(cls, root: Path, tokenizer_blake3: str | None = None) -> "TokenStore":
        """Open the store in ``root``, its dtype and file sizes checked.

        Args:
            root: directory with ``store.json``.
            tokenizer_blake3: of the ``tokenizer.json`` the reader will use, if any.

        Raises:
            TokenStoreError: no store there, a damaged one, or another tokenizer's.
        """
        root = Path(root)
        meta = _read_meta(root / STORE_NAME)
        if tokenizer_blake3 is not None and meta.tokenizer_blake3 != tokenizer_blake3:
            raise TokenStoreError(
                f"{root / STORE_NAME}: tokens were made with tokenizer "
                f"{meta.tokenizer_blake3[:16]}, not {tokenizer_blake3[:16]}; tokenise again"
            )
        for shard in meta.shards:
            _check_sizes(root, meta, shard)
        store = cls(root, meta)
        for shard, ends in zip(meta.shards, store._ends, strict=True):
            if int(ends[-1]) != shard.tokens:
                raise TokenStoreError(
                    f"{root / shard.name}.doc: last document ends at {int(ends[-1])}, "
                    f"{STORE_NAME} says {shard.tokens} tokens; tokenise again"
                )
        return store

    @property
    def num_tokens(self) -> int:
        """Tokens in all shards."""
        return self.meta.num_tokens

    @property
    def domains(self) -> list[str]:
        """Names of the domains, sorted."""
        return sorted({shard.domain for shard in self.meta.shards})

    def domain_tokens(self) -> dict[str, int]:
        """Tokens per domain, by name."""
        totals = dict.fromkeys(self.domains, 0)
        for shard in self.meta.shards:
            totals[shard.domain] += shard.tokens
        return totals

    def window(self, shard_index: int, start: int, length: int) -> np.ndarray:
        """Tokens ``start:start + length`` of a shard: a read-only view, shape (length,).

        Raises:
            IndexError: the window leaves the shard.
        """
        self._check_window(shard_index, start, length)
        return self._tokens[shard_index][start : start + length]

    def documents(self, shard_index: int, start: int, length: int) -> WindowDocuments:
        """Uids and boundaries of the documents in a window.

        Raises:
            IndexError: the window leaves the shard.
        """
        self._check_window(shard_index, start, length)
        return self.documents_many(shard_index, np.array([start]), length)[0]

    def documents_many(
        self, shard_index: int, starts: np.ndarray, length: int
    ) -> list[WindowDocuments]:
        """``documents`` of the windows that begin at ``starts``, (n,), of one shard.

        Raises:
            IndexError: a window leaves the shard.
        """
        if not len(starts):
            return []
        for start in (int(starts.min()), int(starts.max())):
            self._check_window(shard_index, start, length)
        ends, uids = self._ends[shard_index], self._uids[shard_index]
        # Needles of the array's own type: any other makes numpy copy the whole map.
        needles = starts.astype(np.uint64)
        firsts = np.searchsorted(ends, needles, side="right")
        lasts = np.searchsorted(ends, needles + np.uint64(length), side="left")
        found = []
        for first, last, start in zip(firsts.tolist(), lasts.tolist(), needles, strict=True):
            cu_seqlens = np.empty(last - first + 2, dtype=np.int32)
            cu_seqlens[0] = 0
            cu_seqlens[1:-1] = ends[first:last] - start
            cu_seqlens[-1] = length
            found.append(WindowDocuments(uids[first : last + 1], cu_seqlens))
        return found

    @property
    def arrays(self) -> list[np.ndarray]:
        """Token ids of every shard, read-only maps of shape (tokens,), as in ``meta.shards``."""
        return list(self._tokens)

    def verify(self) -> list[str]:
        """Recompute every checksum and check every boundary; one line per problem."""
        problems = []
        for index, shard in enumerate(self.meta.shards):
            _, checksum = hash_file(self.root / f"{shard.name}.tok")
            if checksum != shard.blake3:
                problems.append(
                    f"{self.root / shard.name}.tok: blake3 {checksum[:16]}, "
                    f"{STORE_NAME} says {shard.blake3[:16]}"
                )
            ends = self._ends[index]
            if ends[0] == 0 or np.any(ends[1:] <= ends[:-1]) or ends[-1] != shard.tokens:
                problems.append(f"{self.root / shard.name}.doc: document ends do not increase")
            elif np.any(self._tokens[index][ends - np.uint64(1)] != self.meta.eos_id):
                problems.append(f"{self.root / shard.name}.doc: a document has no end-of-text")
        return problems

    def _check_window(self, shard_index: int, start: int, length: int) -> None:
        shard = self.meta.shards[shard_index]
        if start < 0 or length < 1 or start + length > shard.tokens:
            raise IndexError(
                f"{self.root / shard.name}.tok: window {start}..{start + length} "
                f"outside its {shard.tokens} tokens"
            )


def _view(mapped: np.ndarray) -> np.ndarray:
    """The map as a plain array: slicing one is several times faster than a memmap."""
    return mapped.view(np.ndarray)


def _read_meta(path: Path) -> TokenStoreMeta:
    try:
        meta = TokenStoreMeta.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TokenStoreError(f"{path}: missing, so no token store; run its stage again") from None
    except ValidationError as error:
        why = explain_json(error, TokenStoreMeta)
        raise TokenStoreError(
            f"{path}: unreadable: {why}; remove the store and tokenise again"
        ) from error
    except (UnicodeDecodeError, OSError) as error:
        raise TokenStoreError(f"{path}: unreadable: {error}") from error
    if meta.dtype == "uint16" and token_dtype(meta.vocab_size) != "uint16":
        raise TokenStoreError(f"{path}: dtype uint16 cannot hold {meta.vocab_size} token ids")
    return meta


def _check_sizes(root: Path, meta: TokenStoreMeta, shard: Shard) -> None:
    if not shard.docs:
        raise TokenStoreError(f"{root / STORE_NAME}: {shard.name}: a shard without documents")
    width = np.dtype(meta.dtype).itemsize
    wanted = {"tok": shard.tokens * width, "doc": shard.docs * 8, "uid": shard.docs * 8}
    for suffix, size in wanted.items():
        path = root / f"{shard.name}.{suffix}"
        if not path.is_file():
            raise TokenStoreError(f"{path}: missing; tokenise again")
        if path.stat().st_size != size:
            raise TokenStoreError(
                f"{path}: {path.stat().st_size} bytes, {STORE_NAME} says {size}; tokenise again"
            )
