"""What docs/plan.md shows is what the plan says."""

from pathlib import Path

import pytest

from trainer.models.presets import SHAPES
from trainer.plan.hardware import find_cluster
from trainer.plan.model import find_shape
from trainer.plan.render import GIB, sharding
from trainer.plan.search import Choice, Question, plan

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("model", ["7b", "20b"])
def test_the_scaling_table(model):
    text = (DOCS / "plan.md").read_text()
    question = Question(find_shape(model), find_cluster("a100-80g"), 4096)
    first = None
    for gpus in (8, 64, 512, 1024):
        choice = plan(question, gpus)
        assert isinstance(choice, Choice)
        first = first or choice.tokens
        layout, held = choice.layout, choice.ledger
        rest = held.total - held.states - held.activations
        cells = [
            question.shape.name,
            str(gpus),
            sharding(layout),
            f"{layout.micro_sequences} x {layout.accumulation}",
            str(layout.tensor),
            layout.recompute,
            *(f"{part / GIB:.1f}" for part in (held.states, held.activations, rest, held.total)),
            f"{choice.step.total:.2f}",
            f"{choice.tokens:,.0f}",
            f"{choice.mfu:.1%}",
            f"{choice.tokens / first:.1%}",
        ]
        assert f"| {' | '.join(cells)} |" in text


def test_the_picture_is_there_and_presets_named_exist():
    assert (DOCS / "images" / "plan-7b.svg").is_file()
    for name in ("internlm2-1.8b", "llama-7b", "llama3-8b", "qwen2.5-7b"):
        assert name in SHAPES
