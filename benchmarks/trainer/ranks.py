"""Steps of the real loop on real ranks over gloo, timed, without Ray around them."""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.trainer.no_tokenizer import NoTokenizer
from trainer.config import PretrainConfig
from trainer.data.rows import Row
from trainer.models.llama import DTYPES, new_model
from trainer.parallel.choose import make_stepper
from trainer.step import forward_backward

SHAPES: dict[str, tuple[dict[str, Any], int]] = {
    "10M": (
        {"hidden_size": 320, "num_layers": 4, "num_heads": 5, "num_kv_heads": 5, "mlp_size": 1024},
        16_384,
    ),
    "50M": (
        {"hidden_size": 512, "num_layers": 12, "num_heads": 8, "num_kv_heads": 8, "mlp_size": 1408},
        22_000,
    ),
}
"""Model shape and vocabulary by size."""


class RandomRows:
    """Rows of random tokens, pure in k, a document each."""

    def __init__(self, length: int, vocabulary: int) -> None:
        self.row_length, self._vocabulary = length, vocabulary

    def row(self, k: int) -> Row:
        """Sample ``k``."""
        ids = np.random.default_rng([7, k]).integers(0, self._vocabulary, self.row_length)
        return Row(ids, np.roll(ids, -1), np.zeros(self.row_length, np.int32))

    def validation(self) -> dict[str, list[Row]]:
        """None are held out."""
        return {}


@dataclass(frozen=True)
class Timing:
    """What to time; picklable."""

    config: PretrainConfig
    vocabulary: int
    steps: int
    warm_up: int = 2


def config_of(size: str, rows: int, length: int, **parallel: Any) -> PretrainConfig:
    """A pretraining config of a named shape, a step in one pass."""
    shape, _ = SHAPES[size]
    return PretrainConfig.model_validate(
        {
            "model": {**shape, "max_positions": length},
            "sequence_length": length,
            "batch": rows,
            "parallel": {"micro_batch": rows, **parallel},
        }
    )


def step_seconds(timing: Timing) -> list[float]:
    """Seconds of each step after the warm-up, as rank 0's clock has them."""
    ranks = timing.config.parallel.workers
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_rank, (ranks, folder, timing), nprocs=ranks)
        return torch.load(Path(folder) / "seconds.pt", weights_only=False)


def _rank(rank: int, ranks: int, folder: str, timing: Timing) -> None:
    config = timing.config
    torch.set_num_threads(config.parallel.threads)
    if ranks > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks))
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        store = f"file://{folder}/rendezvous"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks)
    dtype = DTYPES[config.precision]
    model = new_model(config.model, timing.vocabulary, NoTokenizer(), 1, dtype)
    stepper = make_stepper(config, model)
    source = RandomRows(config.sequence_length, timing.vocabulary)
    per_pass = config.rows_per_pass(stepper.data_ranks)
    seconds = []
    for step in range(timing.warm_up + timing.steps):
        stepper.share(None)  # all begin at once
        started = time.perf_counter()
        samples = list(range(step * config.batch, (step + 1) * config.batch))
        forward_backward(samples, source, stepper, per_pass, "bench")
        stepper.step(1e-4)
        seconds.append(time.perf_counter() - started)
    if rank == 0:
        torch.save(seconds[timing.warm_up :], Path(folder) / "seconds.pt")
    if ranks > 1:
        dist.barrier()
        dist.destroy_process_group()
