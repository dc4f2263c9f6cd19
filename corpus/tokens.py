"""Turns documents into the token stores ``tokens/train`` and ``tokens/validation``.

Core: ``write_shards``, one group of document parts to one shard per split and domain.
Shell: ``run``, the stage ``corpus.tokens``, which spreads the groups over Ray tasks.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from clusters.config import StageConfig, execution
from clusters.failpoints import failpoint
from clusters.stage import Requirements, StageContext
from clusters.units import Unit
from contracts.documents import TRAIN, VALIDATION
from contracts.manifest import hash_file
from contracts.token_store import STORE_NAME, Shard, TokenStoreMeta
from corpus.documents import read_rows, sources
from corpus.errors import CorpusError
from corpus.token_store.writer import ShardWriter, shard_name, token_dtype, write_meta
from corpus.tokenizer import FOLDER, end_of_text_id, load_backend
from corpus.unit_map import map_units

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPLITS = (TRAIN, VALIDATION)
STEP = "tokenise"
BATCH_DOCUMENTS = 64


class TokensConfig(StageConfig):
    """How a corpus is tokenised and cut into shards."""

    shards: int = Field(4, ge=1)
    """Shards per split and domain; at most one per part of the corpus."""
    workers: int | None = execution(None, ge=1)
    """Tasks at a time; by default one per CPU of the cluster."""


def requirements(config: TokensConfig) -> Requirements:
    """Each worker holds the tokenizer and one batch of documents."""
    return Requirements(cpus=1.0, memory_bytes=(1 + (config.workers or 2)) << 29)


@dataclass(frozen=True)
class Group:
    """Some parts of the corpus, which become one shard per split and domain."""

    index: int
    shard_of_domain: dict[str, int]
    """Number of the shard that takes a domain's documents of this group."""
    parts: list[Path]

    @property
    def name(self) -> str:
        """Name of its work unit, within the step."""
        return f"group-{self.index:05d}"


def groups_of(parts: Sequence[Path], num_shards: int) -> list[Group]:
    """Deal the parts out to groups; shards are numbered domain by domain."""
    num_groups = min(num_shards, len(parts))
    domains = sources(parts)
    return [
        Group(
            index,
            {domain: row * num_groups + index for row, domain in enumerate(domains)},
            list(parts[index::num_groups]),
        )
        for index in range(num_groups)
    ]


def write_shards(unit: Unit, group: Group, tokenizer_folder: Path) -> None:
    """Tokenise a group's documents, each ended by the end-of-text token.

    Leaves in ``unit.stats["shards"]`` each shard's split, text bytes and entry for
    ``store.json``.
    """
    tokenizer = load_backend(tokenizer_folder)
    writers: dict[tuple[str, str], ShardWriter] = {}
    text_bytes: Counter[tuple[str, str]] = Counter()
    for rows in _batches(read_rows(group.parts, ["uid", "source", "text"]), BATCH_DOCUMENTS):
        encoded = tokenizer.encode_batch_fast([row["text"] for row in rows])
        for row, encoding in zip(rows, encoded, strict=True):
            key = (row["split"], row["source"])
            if key not in writers:
                writers[key] = _open_shard(unit, group, key, tokenizer)
            writers[key].add(row["uid"], encoding.ids)
            text_bytes[key] += len(row["text"].encode())
        failpoint("corpus.tokens.inside_group")
    unit.stats["shards"] = [
        {"split": key[0], "bytes": text_bytes[key], "shard": writers[key].close().model_dump()}
        for key in sorted(writers)
    ]


def run(context: StageContext) -> dict[str, Any]:
    """Stage ``corpus.tokens``: corpus and tokenizer to one token store per split."""
    config: TokensConfig = context.config
    corpus, tokenizer = context.input("corpus"), context.input("tokenizer")
    folder = tokenizer.path(FOLDER)
    groups = {group.name: group for group in groups_of(corpus.files("documents/"), config.shards)}
    stats = map_units(
        context.out.units,
        f"corpus.tokens.{STEP}",
        list(groups),
        _tokenise,
        {"groups": groups, "folder": folder},
        workers=config.workers,
        progress=context.progress,
    )
    made = [entry for unit in stats for entry in unit["shards"]]
    if not any(entry["split"] == TRAIN for entry in made):
        raise CorpusError(f"{corpus.directory}: no train documents, so no tokens")
    failpoint("corpus.tokens.before_stores")
    for split in SPLITS:
        path = context.out.path(f"tokens/{split}/{STORE_NAME}")
        write_meta(path, _meta(folder, [e["shard"] for e in made if e["split"] == split]))
    splits = {split: _totals([e for e in made if e["split"] == split]) for split in SPLITS}
    counts = {key: sum(total[key] for total in splits.values()) for key in ("documents", "bytes")}
    tokens = {f"{split}_tokens": total["tokens"] for split, total in splits.items()}
    return {"in": counts, "out": tokens, "splits": splits}


def _tokenise(unit: Unit, name: str, groups: dict[str, Group], folder: Path) -> None:
    # One thread per task: Ray runs as many tasks as there are CPUs.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    write_shards(unit, groups[name], folder)


def _open_shard(
    unit: Unit, group: Group, key: tuple[str, str], tokenizer: "Tokenizer"
) -> ShardWriter:
    split, domain = key
    name = shard_name(group.shard_of_domain[domain])
    tok, doc, uid = (unit.path(f"tokens/{split}/{name}.{end}") for end in ("tok", "doc", "uid"))
    vocab_size, eos_id = tokenizer.get_vocab_size(), end_of_text_id(tokenizer)
    return ShardWriter(name, domain, tok, doc, uid, vocab_size, eos_id)


def _meta(folder: Path, shards: list[dict[str, Any]]) -> TokenStoreMeta:
    tokenizer = load_backend(folder)
    vocab_size = tokenizer.get_vocab_size()
    return TokenStoreMeta(
        dtype=token_dtype(vocab_size),
        tokenizer_blake3=hash_file(folder / "tokenizer.json")[1],
        vocab_size=vocab_size,
        eos_id=end_of_text_id(tokenizer),
        shards=sorted((Shard(**shard) for shard in shards), key=lambda shard: shard.name),
    )


def _totals(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Documents, text bytes and tokens per domain of one split, and in all."""
    domains: dict[str, Counter[str]] = {}
    for entry in entries:
        shard = entry["shard"]
        counts = {"documents": shard["docs"], "bytes": entry["bytes"], "tokens": shard["tokens"]}
        domains.setdefault(shard["domain"], Counter()).update(counts)
    whole = dict.fromkeys(("documents", "bytes", "tokens"), 0)
    for counts in domains.values():
        whole = {key: whole[key] + counts[key] for key in whole}
    return {**whole, "domains": {name: dict(domains[name]) for name in sorted(domains)}}


def _batches(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(rows, size)):
        yield batch
