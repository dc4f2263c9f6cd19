"""Step ``examples``: one shard's share of the examples that classifiers are trained on."""

import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clusters.units import Unit
from contracts.documents import VALIDATION
from corpus.documents import record_batches
from corpus.tables import write_table
from corpus.value.config import ClassifierConfig, Seed, ValueConfig
from corpus.value.examples import EXAMPLES, is_held, order_of, places, rows_of, smallest
from corpus.value.prose import debris_lines

EXAMPLES_NAME = "examples.parquet"
_DOCUMENTS_PER_DEBRIS = 4
_MIN_DEBRIS_WORDS = 50
_PROSE_COLUMNS = ("prose_share", "prose")


class _Shard(NamedTuple):
    """Narrow columns of one shard's candidates: one row per cluster, its smallest uid."""

    rows: np.ndarray
    order: np.ndarray
    held: np.ndarray
    sources: np.ndarray
    languages: np.ndarray
    prose: np.ndarray


def collect(
    unit: Unit, candidates: Path, clusters: Path, negatives: Path, config: ValueConfig, seed: int
) -> None:
    """Sample the shard; ``clusters`` is row-aligned with ``candidates``.

    ``negatives`` holds starts of records that rules rejected.
    """
    shard = _shard(candidates, clusters)
    wanted = {
        (classifier.name, side, number): _choose(shard, classifier, side, seeds)
        for classifier, side, number, seeds in places(config)
        if not seeds.rejected_by and seeds.path is None
    }
    texts = _texts(candidates, [shard.rows[chosen] for chosen in wanted.values()])
    tables = [EXAMPLES.empty_table()]
    for classifier, side, number, seeds in places(config):
        key = (classifier.name, side, number)
        if seeds.rejected_by:
            tables.append(_rejected(negatives, classifier, side, number, seeds))
        elif seeds.debris:
            tables.append(_debris(shard, wanted[key], texts, classifier, side, number, seed))
        elif seeds.path is None:
            tables.append(_documents(shard, wanted[key], texts, classifier, side, number))
    limits = {classifier.name: classifier.max_examples for classifier in config.classifiers}
    table = smallest(pa.concat_tables(tables), limits)
    write_table(unit.scratch(EXAMPLES_NAME), table.cast(EXAMPLES))


def _shard(candidates: Path, clusters: Path) -> _Shard:
    names = pq.read_schema(candidates).names
    prose = next(name for name in _PROSE_COLUMNS if name in names)
    table = pq.read_table(candidates, columns=["uid", "source", "lang", prose])
    decided = pq.read_table(clusters, columns=["cluster", "split", "duplicate_id"])
    uids = table["uid"].to_numpy()
    leads = decided["cluster"].to_numpy() == uids
    rows = np.flatnonzero(leads & ~decided["duplicate_id"].to_numpy())
    return _Shard(
        rows,
        order_of(uids[rows]),
        pc.equal(decided["split"], VALIDATION).to_numpy()[rows],
        table["source"].to_numpy(zero_copy_only=False)[rows],
        table["lang"].to_numpy(zero_copy_only=False)[rows],
        table[prose].to_numpy()[rows],
    )


def _choose(shard: _Shard, classifier: ClassifierConfig, side: int, seed: Seed) -> np.ndarray:
    """Places in the shard's rows that a seed takes, by rising order, held out ones too."""
    fits = np.full(len(shard.rows), True)
    if classifier.languages:
        fits &= np.isin(shard.languages, list(classifier.languages))
    if seed.source is not None:
        fits &= shard.sources == seed.source
    if seed.pool:
        others = classifier.negatives if side == 0 else classifier.positives
        fits &= ~np.isin(shard.sources, [s.source for s in others if s.source is not None])
    fits &= shard.prose >= seed.min_prose_share
    limit = classifier.max_examples * (_DOCUMENTS_PER_DEBRIS if seed.debris else 1)
    chosen = []
    for held in (False, True):
        found = np.flatnonzero(fits & (shard.held == held))
        chosen.append(found[np.argsort(shard.order[found], kind="stable")][:limit])
    return np.concatenate(chosen)


def _texts(candidates: Path, rows: list[np.ndarray]) -> dict[int, str]:
    """Texts of these rows, a batch of the file in memory at a time."""
    wanted = np.unique(np.concatenate([np.zeros(0, np.int64), *rows]))
    found: dict[int, str] = {}
    start = 0
    with pq.ParquetFile(candidates) as file:
        for batch in record_batches(file, ["text"]):
            inside = wanted[(wanted >= start) & (wanted < start + len(batch))]
            texts = batch["text"].take(pa.array(inside - start)).to_pylist()
            found.update(zip(inside.tolist(), texts, strict=True))
            start += len(batch)
    return found


def _documents(
    shard: _Shard,
    chosen: np.ndarray,
    texts: dict[int, str],
    classifier: ClassifierConfig,
    side: int,
    number: int,
) -> pa.Table:
    return rows_of(
        classifier,
        side,
        number,
        shard.order[chosen],
        shard.held[chosen],
        shard.sources[chosen].tolist(),
        [texts[row] for row in shard.rows[chosen].tolist()],
    )


def _debris(
    shard: _Shard,
    chosen: np.ndarray,
    texts: dict[int, str],
    classifier: ClassifierConfig,
    side: int,
    number: int,
    seed: int,
) -> pa.Table:
    """Pages of lines between the sentences, of four documents each, in random order."""
    heads, pages = [], []
    for held in (False, True):
        same = chosen[shard.held[chosen] == held]
        for start in range(0, len(same), _DOCUMENTS_PER_DEBRIS):
            group = same[start : start + _DOCUMENTS_PER_DEBRIS]
            lines = [
                line for row in shard.rows[group].tolist() for line in debris_lines(texts[row])
            ]
            random.Random(seed + int(shard.order[group[0]])).shuffle(lines)
            page = "\n".join(lines)
            if len(classifier_words(page)) >= _MIN_DEBRIS_WORDS:
                heads.append(group[0])
                pages.append(page)
    places_ = np.array(heads, np.int64)
    sources = shard.sources[places_].tolist()
    return rows_of(
        classifier, side, number, shard.order[places_], shard.held[places_], sources, pages
    )


def classifier_words(page: str) -> list[str]:
    """Words of a page; a page of Chinese has few spaces, so its characters count."""
    return page.split() if page.isascii() else list(page.replace(" ", ""))


def _rejected(
    negatives: Path, classifier: ClassifierConfig, side: int, number: int, seed: Seed
) -> pa.Table:
    table = pq.read_table(negatives)
    rules = pa.array(seed.rejected_by, pa.string())
    wanted = pc.is_in(table["rule"], value_set=rules)
    if classifier.languages:
        languages = pa.array(classifier.languages, pa.string())
        wanted = pc.and_(wanted, pc.is_in(table["lang"], value_set=languages))
    table = table.filter(wanted)
    order = order_of(table["uid"].to_numpy())
    held = is_held(order, classifier.heldout_share)
    sources, texts = table["source"].to_pylist(), table["text"].to_pylist()
    return rows_of(classifier, side, number, order, held, sources, texts)
