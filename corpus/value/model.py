"""Trains and applies one fastText model (Joulin et al. 2016, arXiv:1607.01759)."""

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corpus.errors import CorpusError
from corpus.value.config import FastTextConfig

GOOD = "__label__good"
BAD = "__label__bad"
_FLOOR = 1e-7


def train(
    positives: Sequence[str], negatives: Sequence[str], model: Path, config: FastTextConfig
) -> None:
    """Train on texts as ``classifier_text`` gives them, to the same bytes each time.

    It happens in a process of its own. With one thread fastText fills a tenth of its input
    matrix and takes the rest as the heap gives it, so the process gets a C heap that zeroes
    every block (glibc's malloc fills new blocks with the complement of its perturb byte).

    Raises:
        CorpusError: the training process failed; holds its last words.
    """
    examples = model.with_suffix(".examples")
    _write(positives, negatives, examples)
    here = str(Path(__file__).resolve().parents[2])
    environment = {
        **os.environ,
        "MALLOC_PERTURB_": "255",
        "GLIBC_TUNABLES": "glibc.malloc.perturb=255:glibc.malloc.tcache_count=0",
        "PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")])),
    }
    shared = {name: getattr(config, name) for name in FastTextConfig.model_fields}
    command = [sys.executable, "-m", "corpus.value.train", str(examples), str(model)]
    result = subprocess.run(
        [*command, FastTextConfig(**shared).model_dump_json()],
        env=environment,
        capture_output=True,
        text=True,
    )
    examples.unlink()
    if result.returncode != 0:
        raise CorpusError(
            f"training the classifier {model.parent.name} failed (exit {result.returncode}): "
            f"{result.stderr.strip()[-500:]}"
        )


def _write(positives: Sequence[str], negatives: Sequence[str], path: Path) -> None:
    lines = [f"{GOOD} {text}" for text in positives] + [f"{BAD} {text}" for text in negatives]
    random.Random(len(lines)).shuffle(lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="replace")


def load(model: Path) -> Any:
    """The trained model, for :func:`margins`."""
    import fasttext

    return fasttext.load_model(str(model))


def margins(model: Any, texts: Sequence[str]) -> np.ndarray:
    """Log odds of the good class for each text, shape (texts,), f64.

    Taken from both probabilities: near 1 the odds of one alone would be lost to rounding.
    """
    result = np.zeros(len(texts))
    if not texts:
        return result
    clean = [text.encode("utf-8", "replace").decode() for text in texts]
    labels, probabilities = model.predict(clean, k=2)
    for row, (names, values) in enumerate(zip(labels, probabilities, strict=True)):
        by_name = dict(zip(names, np.asarray(values, np.float64).tolist(), strict=True))
        good, bad = by_name.get(GOOD, 0.0), by_name.get(BAD, 0.0)
        result[row] = np.log(max(good, _FLOOR)) - np.log(max(bad, _FLOOR))
    return result
