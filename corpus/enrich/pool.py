"""What recall does to one part of the pool: draw, score, count, search, gather."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import sparse

from clusters.units import Unit
from contracts.documents import TRAIN
from corpus.documents import record_batches
from corpus.enrich import bm25
from corpus.enrich.config import Bm25Config
from corpus.tables import write_table
from corpus.value.classifier import Classifier
from corpus.value.examples import order_of

DRAWN_NAME = "drawn.parquet"
SCORES_NAME = "scores.parquet"
SUREST_NAME = "surest.parquet"
HITS_NAME = "hits.parquet"
FOUND_NAME = "found.parquet"
_COUNT_ROWS = 2048

TEXTS = pa.schema(
    [
        pa.field("uid", pa.uint64()),
        pa.field("source", pa.string()),
        pa.field("text", pa.string()),
        pa.field("score", pa.float32()),
    ]
)
"""Starts of documents, to train on."""
SCORES = pa.schema([pa.field("uid", pa.uint64()), pa.field("score", pa.float32())])
HITS = pa.schema([pa.field("seed", pa.int64()), *SCORES])
FOUND = pa.schema(
    [
        pa.field("uid", pa.uint64()),
        pa.field("score", pa.float32()),
        pa.field("bytes", pa.int64()),
        pa.field("train", pa.bool_()),
    ]
)
"""Recalled documents, in row order."""


def batches(part: Path, *columns: str) -> Iterator[pa.RecordBatch]:
    """A part's documents, a few hundred at a time."""
    with pq.ParquetFile(part) as file:
        yield from record_batches(file, columns)


def draw(
    unit: Unit, part: Path, count: int, max_chars: int, sources: tuple[str, ...], inside: bool
) -> None:
    """The train documents of smallest hash: of ``sources`` alone, or of all others."""
    narrow = pq.read_table(part, columns=["uid", "source", "split"])
    of_sources = pc.is_in(narrow["source"], value_set=pa.array(sources, pa.string()))
    wanted = pc.and_(pc.equal(narrow["split"], TRAIN), pc.equal(of_sources, inside))
    rows = np.flatnonzero(wanted.to_numpy())
    uids = narrow["uid"].to_numpy()
    rows = np.sort(rows[np.argsort(order_of(uids[rows]), kind="stable")][:count])
    texts = starts_of(part, rows, max_chars)
    table = pa.table(
        {
            "uid": uids[rows],
            "source": narrow["source"].take(pa.array(rows)),
            "text": pa.array(texts, pa.string()),
            "score": pa.nulls(len(rows), pa.float32()),
        },
        schema=TEXTS,
    )
    write_table(unit.scratch(DRAWN_NAME), table)


def starts_of(part: Path, rows: np.ndarray, max_chars: int) -> list[str]:
    """Starts of the texts in these rows, rising; a batch in memory at a time."""
    found: list[str] = []
    start = 0
    for batch in batches(part, "text"):
        here = rows[(rows >= start) & (rows < start + len(batch))] - start
        chosen = batch["text"].take(pa.array(here)).to_pylist()
        found += [text[:max_chars] for text in chosen]
        start += len(batch)
    return found


def score(
    unit: Unit, part: Path, classifier: Classifier, surest: int, min_score: float
) -> np.ndarray:
    """Score every document; keep the texts of the surest ones. Returns the scores."""
    uids, values = [np.zeros(0, np.uint64)], [np.zeros(0, np.float32)]
    train = [np.zeros(0, bool)]
    for batch in batches(part, "uid", "text", "split"):
        uids.append(batch["uid"].to_numpy())
        values.append(classifier.scores(batch["text"].to_pylist()))
        train.append(pc.equal(batch["split"], TRAIN).to_numpy(zero_copy_only=False))
    uid, value = np.concatenate(uids), np.concatenate(values)
    write_table(unit.scratch(SCORES_NAME), pa.table({"uid": uid, "score": value}, schema=SCORES))
    sure = np.flatnonzero((value >= min_score) & np.concatenate(train))
    rows = np.sort(sure[np.lexsort((uid[sure], -value[sure]))][:surest])
    narrow = pq.read_table(part, columns=["source"]).take(pa.array(rows))
    table = pa.table(
        {
            "uid": uid[rows],
            "source": narrow["source"],
            "text": pa.array(starts_of(part, rows, classifier.max_chars), pa.string()),
            "score": value[rows],
        },
        schema=TEXTS,
    )
    write_table(unit.scratch(SUREST_NAME), table)
    return value


def count(unit: Unit, part: Path, vocabulary: bm25.Vocabulary) -> None:
    """Count the seeds' terms; leaves blocks of counts and the sums that BM25 needs."""
    frequencies = np.zeros(len(vocabulary.terms), np.int64)
    lengths = documents = 0
    for number, (uids, texts) in enumerate(_blocks(part)):
        counts = vocabulary.count(texts)
        frequencies += np.bincount(counts.matrix.indices, minlength=len(frequencies))
        lengths += int(counts.lengths.sum())
        documents += len(texts)
        matrix = counts.matrix
        with open(unit.scratch(f"block-{number:05d}.npz"), "wb") as file:
            np.savez(
                file,
                data=matrix.data,
                indices=matrix.indices,
                indptr=matrix.indptr,
                lengths=counts.lengths,
                uids=uids,
            )
    np.save(unit.scratch("frequencies.npy"), frequencies)
    unit.stats.update(documents=documents, lengths=lengths)


def _blocks(part: Path) -> Iterator[tuple[np.ndarray, list[str]]]:
    uids: list[int] = []
    texts: list[str] = []
    for batch in batches(part, "uid", "text"):
        uids += batch["uid"].to_pylist()
        texts += batch["text"].to_pylist()
        if len(uids) >= _COUNT_ROWS:
            yield np.array(uids, np.uint64), texts
            uids, texts = [], []
    if uids:
        yield np.array(uids, np.uint64), texts


def search(
    unit: Unit,
    blocks: list[Path],
    queries: sparse.csr_matrix,
    average: float,
    config: Bm25Config,
) -> None:
    """Each seed's best documents of one part."""
    kept = HITS.empty_table()
    for path in blocks:
        with np.load(path) as block:
            uids, lengths = block["uids"], block["lengths"]
            matrix = sparse.csr_matrix(
                (block["data"], block["indices"], block["indptr"]),
                shape=(len(uids), queries.shape[1]),
            )
        values = bm25.scores(bm25.Counts(matrix, lengths), queries, average, config)
        seeds, found, scores = bm25.best_of(values, uids, config.top)
        table = pa.table({"seed": seeds, "uid": found, "score": scores}, schema=HITS)
        kept = best_hits(pa.concat_tables([kept, table]), config.top)
    write_table(unit.scratch(HITS_NAME), kept)


def best_hits(table: pa.Table, top: int) -> pa.Table:
    """Each seed's best ``top`` hits, ties by uid."""
    table = table.sort_by([("seed", "ascending"), ("score", "descending"), ("uid", "ascending")])
    seeds = table["seed"].to_numpy()
    starts = np.flatnonzero(np.append(True, seeds[1:] != seeds[:-1])) if len(seeds) else seeds
    rank = np.arange(len(seeds)) - np.repeat(starts, np.diff(np.append(starts, len(seeds))))
    return table.take(pa.array(np.flatnonzero(rank < top)))


def gather(
    unit: Unit,
    part: Path,
    scores: Path | None,
    min_score: float,
    limit: int | None,
    fused: Mapping[int, float],
    taken: frozenset[int],
    seed: int,
) -> None:
    """Write what is recalled of one part.

    Args:
        unit: where to write.
        part: the documents.
        scores: the last round's scores, where a classifier searched.
        min_score: lowest score recalled.
        limit: smallest budget key no longer recalled, None without such a limit.
        fused: uid -> fused score of what BM25 found, of the whole pool.
        taken: uids that are not recalled again.
        seed: of the budget keys.
    """
    from corpus.select.budget import keys_of

    rows = []
    for batch in batches(part, "uid", "split", "text"):
        sizes = np.asarray(pc.binary_length(batch["text"]), np.int64)
        rows.append((batch["uid"].to_numpy(), sizes, pc.equal(batch["split"], TRAIN)))
    uids = np.concatenate([np.zeros(0, np.uint64), *(row[0] for row in rows)])
    sizes = np.concatenate([np.zeros(0, np.int64), *(row[1] for row in rows)])
    train = np.concatenate([np.zeros(0, bool), *(row[2].to_numpy(False) for row in rows)])
    by_search = np.array([fused.get(uid, -1.0) for uid in uids.tolist()], np.float32)
    values, found = by_search, by_search >= 0
    if scores is not None:
        values = pq.read_table(scores)["score"].to_numpy()
        surely = values >= min_score
        if limit is not None:
            surely &= keys_of(values, uids, True, seed) < np.uint64(limit)
        found = found | surely
    found &= ~np.isin(uids, np.array(sorted(taken), np.uint64))
    table = pa.table({"uid": uids, "score": values, "bytes": sizes, "train": train}, schema=FOUND)
    write_table(unit.scratch(FOUND_NAME), table.filter(pa.array(found)))
