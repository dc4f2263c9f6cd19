"""Figures of a step against what a counter of operations sees."""

import random
import time

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.trainer.ranks import NoTokenizer
from trainer.config import ModelShape, TrainConfig
from trainer.data.rows import Row, collate
from trainer.models.llama import NextTokenLoss, new_model
from trainer.observe.measure import layout_of, speed_of
from trainer.observe.memory import PeakMemory
from trainer.observe.peak import peak_flops
from trainer.observe.speed import Speed, attended_length

SHAPE = ModelShape(
    hidden_size=64, num_layers=3, num_heads=4, num_kv_heads=2, mlp_size=96, max_positions=128
)


def rows_of(chance: random.Random, documents: int, count: int = 2, length: int = 128) -> list[Row]:
    rows = []
    for _ in range(count):
        ids = np.array([chance.randrange(500) for _ in range(length)])
        borders = sorted(chance.sample(range(1, length), documents - 1))
        segments = np.searchsorted(borders, np.arange(length), side="right").astype(np.int32)
        rows.append(Row(ids, np.roll(ids, -1), segments))
    return rows


def speed(recompute: str = "none") -> tuple[Speed, NextTokenLoss]:
    model = new_model(SHAPE, 500, NoTokenizer(), seed=1, dtype=torch.float32)
    config = TrainConfig.model_validate(
        {"batch": 4, "parallel": {"workers": 1, "recompute": recompute}}
    )
    found = speed_of(config, model, PeakMemory(model), 1, 128)
    assert found is not None
    return found, NextTokenLoss(model, recompute=recompute)


def counted(loss: NextTokenLoss, rows: list[Row]) -> tuple[float, float]:
    """FLOPs of matrix products, and of causal attention, forward and backward.

    torch counts the first. Of attention on a CPU it counts nothing: the shapes that come by are
    counted here, two products over half a square, and twice that for the backward pass.
    """
    seen = []

    def attention(query: torch.Size, *args: object, **kwargs: object) -> int:
        batch, heads, length, width = query
        seen.append(batch * heads * width * length**2 * 2)
        return 0

    operator = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={operator: attention}) as counter:
        loss(collate(rows)).backward()
    return float(counter.get_total_flops()), float(sum(seen))


@pytest.mark.parametrize("documents", [1, 4])
def test_model_flops_are_those_of_the_products_that_are_made(documents: int) -> None:
    measured, loss = speed()
    rows = rows_of(random.Random(), documents)
    figures = measured.figures(256, 2.0, attended_length(rows))
    dense, attention = counted(loss, rows)
    claimed = figures["mfu"] * measured.peak_flops * 2.0
    assert attention > 0
    assert claimed == pytest.approx(dense + 3 * attention, rel=0.01)
    assert figures["hfu"] == pytest.approx(figures["mfu"])
    assert figures["tokens_per_second_per_device"] == 128.0


def test_full_recompute_counts_what_is_made_again() -> None:
    rows = rows_of(random.Random(), 3)
    dense, attention = counted(speed("none")[1], rows)
    measured, loss = speed("full")
    dense_again, attention_again = counted(loss, rows)
    figures = measured.figures(256, 1.0, attended_length(rows))
    claimed = (figures["hfu"] - figures["mfu"]) * measured.peak_flops
    assert attention_again == 2 * attention
    assert claimed == pytest.approx(dense_again - dense + attention, rel=0.01)


def test_attended_length_is_the_mean_positions_document() -> None:
    chance = random.Random()
    rows = rows_of(chance, chance.randint(1, 9), count=3)
    seen = [int((row.segments == s).sum()) for row in rows for s in row.segments]
    assert attended_length(rows) == pytest.approx(sum(seen) / len(seen))


def test_the_peak_is_more_than_a_naive_product_reaches() -> None:
    torch.set_num_threads(1)
    peak, source = peak_flops(torch.device("cpu"), torch.float32)
    assert source.startswith("measured")
    left = torch.randn(300, 300)
    started = time.perf_counter()
    for _ in range(3):
        left @ left
    # The order of magnitude: other work may have slowed the one and not the other.
    assert peak > 0.02 * 3 * 2 * 300**3 / (time.perf_counter() - started)
    assert peak > 1e9


def test_memory_that_training_takes_is_seen() -> None:
    model = new_model(SHAPE, 500, NoTokenizer(), seed=1)
    memory = PeakMemory(model)
    held = torch.ones(64 << 20)  # 256 MiB, touched
    assert memory.training_bytes() > 200 << 20 or memory.process_bytes() > held.nbytes
    del held


@pytest.mark.parametrize("ranks", [1, 2, 8])
def test_the_layout_told_to_the_plan_is_the_configs(ranks: int) -> None:
    config = TrainConfig.model_validate(
        {"batch": 16, "parallel": {"workers": ranks, "micro_batch": 3, "zero_stage": 2}}
    )
    layout = layout_of(config, ranks)
    assert layout.gpus == ranks
    assert layout.zero == (2 if ranks > 1 else 0)
    assert layout.micro_sequences * layout.accumulation * ranks >= 16
    assert layout.micro_sequences <= 3


def test_mixtures_of_experts_are_left_uncounted() -> None:
    class Config:
        @staticmethod
        def to_dict() -> dict[str, object]:
            return {"num_experts": 8, "num_attention_heads": 4}

    class Model(torch.nn.Linear):
        config = Config

    assert speed_of(TrainConfig(), Model(2, 2), PeakMemory(Model(2, 2)), 1, 8) is None
