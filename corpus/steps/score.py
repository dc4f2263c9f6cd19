"""Step ``score``: the score columns of one shard's candidates."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clusters.units import Unit
from corpus.documents import record_batches
from corpus.value.classifier import Classifier
from corpus.value.config import ClassifierConfig, ValueConfig
from corpus.value.measures import measure
from corpus.value.names import MEASURES
from corpus.workspace import SCORES_NAME

_NO_SCORE = ("lang_score", "prose")
"""f32 columns of candidates that are not copied."""


@lru_cache(maxsize=32)
def _load(folder: Path, max_chars: int) -> Classifier:
    return Classifier.load(folder, max_chars)


def score(unit: Unit, candidates: Path, trained: Mapping[str, Path], config: ValueConfig) -> None:
    """Write ``scores.parquet``, row-aligned with the candidates, every column f32.

    First the score columns that the candidates carry already, then the measures that they
    lack, then the classifiers in the config's order; null where a classifier was not trained
    or is not for the document's language.

    Args:
        unit: where to write.
        candidates: the shard's documents.
        trained: classifier -> folder, of those that were trained.
        config: which columns are wanted.
    """
    given = pq.read_schema(candidates)
    copied = [f.name for f in given if f.type == pa.float32() and f.name not in _NO_SCORE]
    measured = [name for name in MEASURES if config.measures and name not in copied]
    names = [*copied, *measured, *(classifier.name for classifier in config.classifiers)]
    schema = pa.schema([pa.field(name, pa.float32()) for name in names])
    with (
        pq.ParquetFile(candidates) as reader,
        pq.ParquetWriter(unit.scratch(SCORES_NAME), schema, compression="zstd") as writer,
    ):
        for batch in record_batches(reader, ["text", "lang", *copied]):
            columns = _columns(batch, copied, measured, trained, config)
            writer.write_table(pa.table(columns, schema=schema))


def _columns(
    batch: pa.RecordBatch,
    copied: list[str],
    measured: list[str],
    trained: Mapping[str, Path],
    config: ValueConfig,
) -> list[pa.Array]:
    texts, languages = batch["text"].to_pylist(), batch["lang"].to_pylist()
    columns = [batch[name] for name in copied]
    if measured:
        rows = [measure(text, lang) for text, lang in zip(texts, languages, strict=True)]
        columns += [pa.array([row[name] for row in rows], pa.float32()) for name in measured]
    for classifier in config.classifiers:
        folder = trained.get(classifier.name)
        columns.append(_learned(classifier, folder, texts, languages))
    return columns


def _learned(
    classifier: ClassifierConfig, folder: Path | None, texts: list[str], languages: list[str]
) -> pa.Array:
    if folder is None:
        return pa.nulls(len(texts), pa.float32())
    wanted = np.array(
        [not classifier.languages or lang in classifier.languages for lang in languages], bool
    )
    values = np.zeros(len(texts), np.float32)
    chosen = [text for text, take in zip(texts, wanted, strict=True) if take]
    values[wanted] = _load(folder, classifier.max_chars).scores(chosen)
    return pa.array(values, mask=~wanted)
