"""Packing conversations into rows against padding them to the longest of their batch.

`sft/alpaca_en` through a tokenizer of its own, rows of 2,048 tokens; the padded side trains on
as many conversations a step as a row holds in the mean, in random order. Both sides train the
same 10M model by the same stepper and chunked loss, so that the padding alone is measured: padded
rows need no mask (what stands behind the text is never looked at), and logits are made where
there is loss only. Useful tokens are those of conversations.

python -m benchmarks.trainer.packing [--steps 12] [--rounds 3]
"""

import argparse
import gzip
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.report import keep
from benchmarks.trainer.step_models import SIZES
from contracts.conversation import Conversation
from corpus.tokenizer import save_tokenizer, train_tokenizer
from trainer.config import OptimiserConfig
from trainer.data.packing import PackedRows
from trainer.data.render import Rendered, render
from trainer.data.rows import collate
from trainer.losses.cross_entropy import IGNORE, linear_cross_entropy
from trainer.models.llama import NextTokenLoss, load_tokenizer
from trainer.parallel.plain import PlainStepper

ROW = 2048
VOCABULARY = 16_000


@dataclass(frozen=True)
class Padded:
    """Conversations side by side, each padded to the longest."""

    inputs: torch.Tensor
    labels: torch.Tensor
    useful: int

    @classmethod
    def of(cls, group: list[Rendered]) -> "Padded":
        """Pad at the end."""
        longest = max(len(item.ids) for item in group)
        inputs = np.zeros((len(group), longest), np.int64)
        labels = np.full((len(group), longest), IGNORE, np.int64)
        for row, item in enumerate(group):
            count = len(item.ids)
            inputs[row, :count] = item.ids
            labels[row, : count - 1] = np.where(item.trained[1:], item.ids[1:], IGNORE)
        useful = sum(len(item.ids) for item in group)
        return cls(torch.from_numpy(inputs), torch.from_numpy(labels), useful)


class PaddedLoss(nn.Module):
    """Summed loss of a padded batch: plain causal attention over every row."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Padded) -> torch.Tensor:
        """In nats, over all rows."""
        hidden = self.model.model(input_ids=batch.inputs, use_cache=False).last_hidden_state
        return linear_cross_entropy(
            hidden.flatten(0, 1), self.model.lm_head.weight, batch.labels.flatten()
        )


def conversations(count: int) -> list[Rendered]:
    """The first ``count`` conversations of the file, through a tokenizer made from them."""
    path = Path(os.environ["INKSTONE_DATA"]) / "sft" / "alpaca_en.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        raw = [json.loads(line) for line, _ in zip(file, range(count), strict=False)]
    texts = ("\n".join((item["instruction"], item["input"], item["output"])) for item in raw)
    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(train_tokenizer(texts, VOCABULARY), Path(folder), "chatml", ROW)
        tokenizer = load_tokenizer(Path(folder))
    found = []
    for number, item in enumerate(raw):
        asked = "\n".join(part for part in (item["instruction"], item["input"]) if part)
        messages = [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": item["output"]},
        ]
        conversation = Conversation.model_validate(
            {"id": str(number), "source": "alpaca", "messages": messages}
        )
        if item["output"]:
            found.append(render(conversation, tokenizer))
    return [item for item in found if len(item.ids) <= ROW]


def packed(items: list[Rendered]) -> Iterator[tuple[Any, int]]:
    """Batches of one packed row, and their useful tokens."""
    rows = PackedRows(
        items, row_length=ROW, seed=1, pad_id=0, validation_share=0.0, validation_rows=0
    )
    k = 0
    while True:
        row = rows.row(k)
        padding = int((row.segments == row.segments[-1]).sum()) if row.inputs[-1] == 0 else 0
        yield collate([row]), ROW - padding
        k += 1


def padded(items: list[Rendered], size: int) -> Iterator[tuple[Padded, int]]:
    """Batches of ``size`` conversations in random order, and their useful tokens."""
    order = np.random.default_rng(1).permutation(len(items))
    while True:
        for first in range(0, len(order) - size + 1, size):
            batch = Padded.of([items[i] for i in order[first : first + size]])
            yield batch, batch.useful


def run(stepper: PlainStepper, batches: Iterator[tuple[Any, int]], steps: int) -> float:
    """Useful tokens per second over ``steps`` steps."""
    useful, started = 0, time.perf_counter()
    for _ in range(steps):
        batch, tokens = next(batches)
        loss_tokens = max(1, int((batch.labels != IGNORE).sum()))
        stepper.backward(stepper.loss(batch) / loss_tokens, last=True)
        stepper.step(1e-4)
        useful += tokens
    return useful / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=8_000)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    items = conversations(options.conversations)
    lengths = [len(item.ids) for item in items]
    size = round(ROW / float(np.mean(lengths)))
    model = SIZES["10M"].model
    sides: dict[str, tuple[PlainStepper, Iterator[tuple[Any, int]]]] = {
        "packed": (PlainStepper(NextTokenLoss(model()), OptimiserConfig()), packed(items)),
        "padded": (PlainStepper(PaddedLoss(model()), OptimiserConfig()), padded(items, size)),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for stepper, batches in sides.values():
        run(stepper, batches, 3)
    for number in range(options.rounds):
        for name, (stepper, batches) in sides.items():
            rates[name].append(run(stepper, batches, options.steps))
        print(number, {name: round(found[-1]) for name, found in rates.items()}, flush=True)
    ours, theirs = median(rates["packed"]), median(rates["padded"])
    keep(
        "trainer-packing",
        what=f"useful tokens/s, sft/alpaca_en packed to {ROW}, 10M parameters",
        ours=round(ours),
        unit="tokens/s",
        peer=f"{size} conversations padded to the longest of them",
        theirs=round(theirs),
        ratio=round(ours / theirs, 3),
        goal=">= 1.8",
        met=ours / theirs >= 1.8,
        mean_tokens=round(float(np.mean(lengths)), 1),
        longest=max(lengths),
    )


if __name__ == "__main__":
    main()
