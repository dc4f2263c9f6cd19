"""Stage ``corpus.tokens``: documents to ``tokens/train`` and ``tokens/validation``.

Spreads the groups of ``corpus.tokenise`` over Ray tasks and writes each store's ``store.json``.
"""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from clusters.artifact import Artifact
from clusters.config import StageConfig, execution
from clusters.failpoints import failpoint
from clusters.stage import Requirements, StageContext
from clusters.units import Unit
from contracts.documents import TRAIN, VALIDATION
from contracts.manifest import hash_file
from contracts.token_store import STORE_NAME, Shard, TokenStoreMeta
from corpus.documents import sources
from corpus.errors import CorpusError
from corpus.token_store.writer import token_dtype, write_meta
from corpus.tokenise import Group, groups_of, open_selection, write_shards
from corpus.tokenizer import FOLDER, end_of_text_id, load_backend
from corpus.unit_map import map_units

SPLITS = (TRAIN, VALIDATION)
STEP = "tokenise"
_BYTES_PER_SHARD = 128 << 20
_LEAST_SHARDS = 4


class TokensConfig(StageConfig):
    """How a corpus is tokenised and cut into shards."""

    shards: int | None = Field(None, ge=1)
    """Shards per split and domain, and so tasks that may run at once; at most one per row group
    of the corpus. By default one for every 128 MiB of the parts' files, and at least four."""
    workers: int | None = execution(None, ge=1)
    """Tasks at a time; by default one per CPU of the cluster."""


def requirements(config: TokensConfig) -> Requirements:
    """Each worker holds the tokenizer and one batch of documents."""
    return Requirements(cpus=1.0, memory_bytes=(1 + (config.workers or 2)) << 29)


def run(context: StageContext) -> dict[str, Any]:
    """Stage ``corpus.tokens``: corpus and tokenizer to one token store per split."""
    config: TokensConfig = context.config
    corpus, tokenizer = context.input("corpus"), context.input("tokenizer")
    folder = tokenizer.path(FOLDER)
    selection = context.input("selection") if context.inputs.get("selection") else None
    parts = corpus.files("documents/")
    chosen = None if selection is None else open_selection(selection, corpus)
    weights = None if chosen is None else chosen.weights
    domains = sources(parts) if chosen is None else chosen.domains()
    count = config.shards or shards_for(parts)
    groups = {group.name: group for group in groups_of(parts, count, domains)}
    stats = map_units(
        context.out.units,
        f"corpus.tokens.{STEP}",
        list(groups),
        _tokenise,
        {"groups": groups, "folder": folder, "selection": selection},
        workers=config.workers,
        progress=context.progress,
    )
    made = [entry for unit in stats for entry in unit["shards"]]
    if not any(entry["split"] == TRAIN for entry in made):
        raise CorpusError(f"{corpus.directory}: no train documents, so no tokens")
    failpoint("corpus.tokens.before_stores")
    for split in SPLITS:
        path = context.out.path(f"tokens/{split}/{STORE_NAME}")
        shards = [e["shard"] for e in made if e["split"] == split]
        write_meta(path, _meta(folder, shards, weights))
    splits = {split: _totals([e for e in made if e["split"] == split]) for split in SPLITS}
    counts = {key: sum(total[key] for total in splits.values()) for key in ("documents", "bytes")}
    tokens = {f"{split}_tokens": total["tokens"] for split, total in splits.items()}
    left_out = sum((Counter(unit["left_out"]) for unit in stats), Counter())
    left = {key: left_out[key] for key in ("documents", "bytes")}
    return {"in": counts, "out": tokens, "splits": splits, "left_out_by_selection": left}


def shards_for(parts: Sequence[Path]) -> int:
    """How many shards suit the parts of a corpus, by the size of their files."""
    return max(_LEAST_SHARDS, -(-sum(part.stat().st_size for part in parts) // _BYTES_PER_SHARD))


def _tokenise(
    unit: Unit, name: str, groups: dict[str, Group], folder: Path, selection: Artifact | None
) -> None:
    # One thread per task: Ray runs as many tasks as there are CPUs.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    write_shards(unit, groups[name], folder, selection)


def _meta(
    folder: Path, shards: list[dict[str, Any]], weights: dict[str, int] | None
) -> TokenStoreMeta:
    present = {shard["domain"] for shard in shards}
    tokenizer = load_backend(folder)
    vocab_size = tokenizer.get_vocab_size()
    return TokenStoreMeta(
        dtype=token_dtype(vocab_size),
        tokenizer_blake3=hash_file(folder / "tokenizer.json")[1],
        vocab_size=vocab_size,
        eos_id=end_of_text_id(tokenizer),
        weights=weights and {name: weights[name] for name in sorted(present & weights.keys())},
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
