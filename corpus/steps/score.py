"""Step ``score``: the quality of one shard's candidates."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clusters.units import Unit
from corpus.config import QualityConfig
from corpus.quality import model
from corpus.quality.features import classifier_text
from corpus.schemas import SCORES
from corpus.tables import BATCH_ROWS, write_table
from corpus.workspace import SCORES_NAME


@lru_cache(maxsize=1)
def _model(path: Path) -> Any:
    return model.load(path)


def score(unit: Unit, candidates: Path, trained: Path, config: QualityConfig) -> None:
    """Score every candidate, in the shard's order."""
    scores: list[np.ndarray] = []
    with pq.ParquetFile(candidates) as reader:
        for batch in reader.iter_batches(BATCH_ROWS, columns=["text"]):
            texts = [classifier_text(t, config.max_chars) for t in batch["text"].to_pylist()]
            scores.append(model.scores(_model(trained), texts))
    joined = np.concatenate([np.zeros(0, np.float32), *scores])
    write_table(unit.scratch(SCORES_NAME), pa.table({"quality": joined}, schema=SCORES))
