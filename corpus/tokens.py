"""Turns documents into the token stores ``tokens/train`` and ``tokens/validation``.

Core: ``write_shards``, one group of document parts to one shard per split and domain.
Shell: ``run``, the stage ``corpus.tokens``, which spreads the groups over Ray tasks.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from clusters.artifact import ArtifactError
from clusters.config import StageConfig, execution
from clusters.failpoints import failpoint
from clusters.stage import Requirements, StageContext
from clusters.units import Unit, Units
from contracts.documents import TRAIN, VALIDATION
from contracts.manifest import hash_file
from contracts.token_store import STORE_NAME, Shard, TokenStoreMeta
from corpus.documents import read_rows, sources
from corpus.token_store.writer import ShardWriter, shard_name, token_dtype, write_meta
from corpus.tokenizer import FOLDER, end_of_text_id, load_backend

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
    """Tasks at a time; by default as many as the free CPUs carry."""
    cpus_per_worker: float = execution(0.9, gt=0)
    """CPUs that one task takes."""


def requirements(config: TokensConfig) -> Requirements:
    """One worker must fit."""
    return Requirements(cpus=config.cpus_per_worker, memory_bytes=1 << 30)


@dataclass(frozen=True)
class Group:
    """Some parts of the corpus, which become one shard per split and domain."""

    index: int
    shard_of_domain: dict[str, int]
    """Number of the shard that takes a domain's documents of this group."""
    parts: list[Path]

    @property
    def unit(self) -> str:
        """Name of its work unit."""
        return f"{STEP}/group-{self.index:05d}"


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
    _run_groups(context, groups_of(corpus.files("documents/"), config.shards), folder)
    made = [entry for record in context.out.units.records(STEP) for entry in record.stats["shards"]]
    if not any(entry["split"] == TRAIN for entry in made):
        raise ArtifactError(f"{corpus.directory}: no train documents, so no tokens")
    for split in SPLITS:
        path = context.out.path(f"tokens/{split}/{STORE_NAME}")
        write_meta(path, _meta(folder, [e["shard"] for e in made if e["split"] == split]))
    return {split: _totals([e for e in made if e["split"] == split]) for split in SPLITS}


def _run_groups(context: StageContext, groups: list[Group], folder: Path) -> None:
    """Run the groups that are not published yet as Ray tasks."""
    import ray

    units, config = context.out.units, context.config
    pending = set(units.pending([group.unit for group in groups]))
    waiting = [group for group in groups if group.unit in pending]
    task = ray.remote(num_cpus=config.cpus_per_worker, max_retries=5)(_tokenise_group)
    running: list[Any] = []
    with context.progress.task("tokenise", len(groups), "groups") as progress:
        progress.update(len(groups) - len(waiting))
        while waiting or running:
            while waiting and len(running) < (config.workers or len(groups)):
                group = waiting.pop(0)
                named = task.options(name=f"{context.run}-{context.name}-{group.index}")
                running.append(named.remote(units, group, folder))
            done, running = ray.wait(running)
            ray.get(done)
            progress.advance(len(done))


def _tokenise_group(units: Units, group: Group, folder: Path) -> None:
    with units.start(group.unit) as unit:
        write_shards(unit, group, folder)


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
    whole = sum(domains.values(), Counter())
    return {**whole, "domains": {name: dict(domains[name]) for name in sorted(domains)}}


def _batches(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(rows, size)):
        yield batch
