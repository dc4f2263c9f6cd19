"""Copies of an artifact for other programs: documents as lines or tables, tokens for Megatron."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clusters.artifact import Artifact, ArtifactError
from contracts.documents import TRAIN, VALIDATION
from contracts.token_store import STORE_NAME
from corpus.documents import text_batches
from corpus.token_store.megatron import export as export_megatron
from corpus.token_store.reader import TokenStore
from corpus.tokenise import open_selection

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["megatron", "jsonl", "parquet"]
SPLITS = (TRAIN, VALIDATION)
NEEDS = {"megatron": "tokens", "jsonl": "corpus", "parquet": "corpus"}
"""Format -> kind of artifact it is made from."""


def export(
    path: Path, out: Path, form: Format, split: str | None = None, selection: Path | None = None
) -> dict[str, Any]:
    """Write a copy of the artifact at ``path`` below ``out``; what was written, as JSON values.

    Args:
        path: a ``tokens`` artifact for Megatron, a ``corpus`` for the others.
        out: a folder that does not exist or is empty.
        form: Megatron writes ``OUT/SPLIT/DOMAIN.bin`` and ``.idx``; the others a file per part.
        split: only these documents (tokens).
        selection: artifact of ``corpus.select``; only its documents, each with its ``domain``.

    Raises:
        ArtifactError: another kind of artifact, a split there is none of, or ``out`` holds files.
    """
    artifact = Artifact.open(path)
    if artifact.manifest.kind != NEEDS[form]:
        raise ArtifactError(
            f"{path}: holds {artifact.manifest.kind!r}; format {form} is made from {NEEDS[form]!r}"
        )
    if split is not None and split not in SPLITS:
        raise ArtifactError(f"--split {split}: the splits are {', '.join(SPLITS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArtifactError(f"{out}: exists and is not empty; name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    if form == "megatron":
        if selection is not None:
            raise ArtifactError("--selection: tokens hold what was selected already; leave it out")
        return _megatron(artifact, out, split)
    return _documents(artifact, out, form, split, selection)


def _megatron(artifact: Artifact, out: Path, split: str | None) -> dict[str, Any]:
    written = {}
    for name in SPLITS if split is None else (split,):
        root = artifact.root / "tokens" / name
        if not (root / STORE_NAME).exists():
            raise ArtifactError(f"{artifact.directory}: no tokens of the split {name!r}")
        store = TokenStore.open(root)
        prefixes = export_megatron(store, out / name)
        written[name] = {"tokens": store.num_tokens, "prefixes": list(map(str, prefixes.values()))}
    return written


def _documents(
    artifact: Artifact, out: Path, form: Format, split: str | None, selection: Path | None
) -> dict[str, Any]:
    chosen = None
    if selection is not None:
        chosen = open_selection(Artifact.open(selection, "selection"), artifact)
    documents = files = 0
    for part in artifact.files("documents/"):
        domains = None if chosen is None else chosen.part(part.name)
        target = out / f"{part.stem}.{'jsonl.zst' if form == 'jsonl' else 'parquet'}"
        write = _write_jsonl if form == "jsonl" else _write_parquet
        documents += write(target, _batches(part, split, domains))
        files += 1
    return {"documents": documents, "files": files}


def _batches(
    part: Path, split: str | None, domains: dict[int, str] | None
) -> Iterator["pa.RecordBatch"]:
    """The part's documents that are wanted, all columns, with ``domain`` where one is chosen."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    names = [name for name in pq.read_schema(part).names if name != "text"]
    for batch in text_batches(part, names):
        if split is not None:
            batch = batch.filter(pc.equal(batch["split"], split))
        if domains is not None:
            found = [domains.get(uid) for uid in batch["uid"].to_pylist()]
            batch = batch.append_column("domain", pa.array(found, type=pa.string()))
            batch = batch.filter(pc.is_valid(batch["domain"]))
        yield batch


def _write_jsonl(path: Path, batches: Iterator["pa.RecordBatch"]) -> int:
    import zstandard

    count = 0
    with open(path, "wb") as raw, zstandard.ZstdCompressor().stream_writer(raw) as out:
        for batch in batches:
            for row in batch.to_pylist(maps_as_pydicts="strict"):
                out.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
            count += len(batch)
    return count


def _write_parquet(path: Path, batches: Iterator["pa.RecordBatch"]) -> int:
    import pyarrow.parquet as pq

    count, writer = 0, None
    for batch in batches:
        if writer is None:
            writer = pq.ParquetWriter(path, batch.schema, compression="zstd")
        writer.write_batch(batch)
        count += len(batch)
    if writer is not None:
        writer.close()
    return count
