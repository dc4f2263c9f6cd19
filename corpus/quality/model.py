"""Trains and applies the fastText classifier (Joulin et al. 2016, arXiv:1607.01759)."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from corpus.config import QualityConfig
from corpus.errors import CorpusError

GOOD = "__label__good"
BAD = "__label__bad"


def train(examples: Path, model: Path, config: QualityConfig) -> None:
    """Train on a file of labelled lines, in a process of its own, to the same bytes each time.

    With one thread fastText fills a tenth of its input matrix and takes the rest as the
    heap gives it, so the process gets a C heap that zeroes every block (glibc's malloc
    fills new blocks with the complement of its perturb byte).

    Raises:
        CorpusError: the training process failed; holds its last words.
    """
    here = str(Path(__file__).resolve().parents[2])
    environment = {
        **os.environ,
        "MALLOC_PERTURB_": "255",
        "GLIBC_TUNABLES": "glibc.malloc.perturb=255:glibc.malloc.tcache_count=0",
        "PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")])),
    }
    command = [sys.executable, "-m", "corpus.quality.train", str(examples), str(model)]
    result = subprocess.run(
        [*command, config.model_dump_json()], env=environment, capture_output=True, text=True
    )
    if result.returncode != 0:
        raise CorpusError(
            f"training the quality classifier failed (exit {result.returncode}): "
            f"{result.stderr.strip()[-500:]}"
        )


def load(model: Path) -> Any:
    """The trained model, for :func:`scores`."""
    import fasttext

    return fasttext.load_model(str(model))


def scores(model: Any, texts: list[str]) -> np.ndarray:
    """Probability of the good class for each text, shape (texts,), f32 in [0, 1]."""
    result = np.zeros(len(texts), np.float32)
    if not texts:
        return result
    labels, probabilities = model.predict(texts, k=2)
    for row, (names, values) in enumerate(zip(labels, probabilities, strict=True)):
        by_name = dict(zip(names, values, strict=True))
        result[row] = min(max(float(by_name.get(GOOD, 0.0)), 0.0), 1.0)
    return result
