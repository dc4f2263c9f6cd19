"""Step ``train``: examples for the quality classifier, its training, its held-out AUC."""

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.config import BuildConfig, QualityConfig
from corpus.ledger import QualityReport
from corpus.quality import model
from corpus.quality.auc import auc
from corpus.quality.features import classifier_text
from corpus.quality.prose import debris_lines
from corpus.split import split_of

Examples = tuple[list[str], list[str]]
"""(positives, negatives), as the classifier reads them."""

_DOCUMENTS_PER_DEBRIS = 4
_MIN_DEBRIS_WORDS = 50


def sample_rows(
    table: pa.Table, clusters: pa.Table, config: QualityConfig, split: str
) -> np.ndarray:
    """Rows of one split that examples are made of: a random sample by uid, in random order.

    One document per cluster; ``table`` has the columns uid and source.
    """
    wanted = pc.equal(clusters["split"], split)
    if config.positive_sources:
        sources = pa.array(config.positive_sources, pa.string())
        wanted = pc.and_(wanted, pc.is_in(table["source"], value_set=sources))
    rows = np.flatnonzero(wanted.to_numpy())
    groups = clusters["cluster"].to_numpy()[rows]
    uids = table["uid"].to_numpy()[rows]
    leaders = rows[groups == uids]
    order = np.argsort(_shuffled(table["uid"].to_numpy()[leaders]), kind="stable")
    return leaders[order][: 2 * config.max_examples]


def _shuffled(uids: np.ndarray) -> np.ndarray:
    """Uids in an order that follows from nothing but themselves (uids are hashes)."""
    return uids * np.uint64(0x9E3779B97F4A7C15)


def make_examples(
    texts: list[str], prose: list[float], rejected: list[str], config: QualityConfig, seed: int
) -> Examples:
    """(positives, negatives) as the classifier reads them.

    Positives are documents made of sentences. Negatives are records the rules rejected
    and, up to the same number, debris: the lines between the sentences, from several
    documents in random order.
    """
    limit = config.max_examples
    good = [t for t, share in zip(texts, prose, strict=True) if share >= config.min_prose_share]
    bad = rejected[: limit // 2]
    bad += _debris(texts, random.Random(seed))[: limit - len(bad)]

    def read(pile: list[str]) -> list[str]:
        return [classifier_text(text, config.max_chars) for text in pile]

    return read(good[:limit]), read(bad)


def _debris(texts: list[str], rng: random.Random) -> list[str]:
    pages = []
    for start in range(0, len(texts), _DOCUMENTS_PER_DEBRIS):
        group = texts[start : start + _DOCUMENTS_PER_DEBRIS]
        lines = [line for text in group for line in debris_lines(text)]
        rng.shuffle(lines)
        page = "\n".join(lines)
        if len(page.split()) >= _MIN_DEBRIS_WORDS:
            pages.append(page)
    return pages


def train_and_measure(
    train: Examples,
    heldout: Examples,
    config: QualityConfig,
    examples: Path,
    trained: Path,
) -> QualityReport:
    """Train on one pair of (positives, negatives), measure on the other."""
    report = QualityReport(
        train_positives=len(train[0]),
        train_negatives=len(train[1]),
        heldout_positives=len(heldout[0]),
        heldout_negatives=len(heldout[1]),
    )
    if min(report.train_positives, report.train_negatives) < config.min_examples:
        report.skipped = (
            f"{report.train_positives} good and {report.train_negatives} bad examples; "
            f"quality.min_examples asks for {config.min_examples} of each"
        )
        return report
    lines = [f"{model.GOOD} {text}" for text in train[0]]
    lines += [f"{model.BAD} {text}" for text in train[1]]
    random.Random(len(lines)).shuffle(lines)
    examples.write_text("\n".join(lines) + "\n", encoding="utf-8")
    model.train(examples, trained, config)
    report.threshold = config.min_score
    if heldout[0] and heldout[1]:
        judge = model.load(trained)
        report.heldout_auc = auc(model.scores(judge, heldout[0]), model.scores(judge, heldout[1]))
    return report


def rejected_of_split(paths: list[Path], config: BuildConfig, seed: int, split: str) -> list[str]:
    """Texts of records the rules rejected that fall in a split, in random order by uid."""
    table = pa.concat_tables([pq.read_table(path) for path in paths])
    uids = table["uid"].to_numpy()
    share = config.split.validation_share
    rows = [
        row
        for row in np.argsort(_shuffled(uids), kind="stable").tolist()
        if split_of(int(uids[row]), seed, share) == split
    ]
    chosen = pa.array(rows[: config.quality.max_examples], pa.int64())
    return table["text"].take(chosen).to_pylist()
