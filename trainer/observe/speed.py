"""Speed and use of the hardware of every step, and what the plan had predicted.

    MFU = model FLOPs of the step / seconds / (devices * peak FLOP/s of one)

Model FLOPs are those of the plan's ``Shape.flops_per_token``: 6 per multiplying parameter and
token, and causal attention over the positions that a token really sees, which in packed rows
are those of its own document (Kaplan et al., arXiv:2001.08361; MFU after Chowdhery et al.,
arXiv:2204.02311, appendix B). HFU also counts what is computed twice under full recompute
(Korthikanti et al., arXiv:2205.05198); selective recompute repeats no matrix product.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.data.rows import Row
from trainer.observe.memory import PeakMemory
from trainer.plan.model import Shape


@dataclass(frozen=True)
class Expected:
    """What the plan says of this model on this hardware in this layout."""

    tokens_per_second: float
    """Per device."""
    memory_bytes: float
    """Of one device at its peak."""


@dataclass(frozen=True)
class Speed:
    """Turns the duration of a step into figures; held by rank 0."""

    shape: Shape
    devices: int
    peak_flops: float
    """Of one device, FLOP/s."""
    peak_source: str
    recompute: str
    memory: PeakMemory
    expected: Expected | None
    """None where the plan cannot know the layout."""

    def figures(self, tokens: int, seconds: float, attended: float) -> dict[str, float]:
        """Figures of one step.

        Args:
            tokens: of the whole batch, those without loss included.
            seconds: of the step.
            attended: length of the document that the mean token lies in.
        """
        rate = tokens / max(seconds, 1e-9) / self.devices
        model = self.shape.flops_per_token(round(attended))
        return {
            "tokens_per_second_per_device": rate,
            "mfu": rate * model / self.peak_flops,
            "hfu": rate * (model + self._repeated(attended)) / self.peak_flops,
            "memory_bytes": float(self.memory.training_bytes()),
        }

    def header(self) -> dict[str, Any]:
        """What holds for the whole run, for its first event."""
        found: dict[str, Any] = {
            "devices": self.devices,
            "parameters": self.shape.parameters,
            "peak_flops_per_device": self.peak_flops,
            "peak_source": self.peak_source,
        }
        if self.expected is not None:
            found["expected_tokens_per_second_per_device"] = self.expected.tokens_per_second
            found["expected_memory_bytes"] = self.expected.memory_bytes
        return found

    def _repeated(self, attended: float) -> float:
        """FLOPs per token of layers' forward passes that are run a second time.

        All but a layer's last product, the MLP's way down: nothing needs its result again.
        """
        if self.recompute != "full":
            return 0.0
        shape = self.shape
        dense = shape.layer_parameters - shape.hidden * shape.mlp
        return 2.0 * shape.layers * (dense + shape.q_width * attended)


def attended_length(rows: Sequence[Row]) -> float:
    """Length of the segment that the mean position of ``rows`` lies in."""
    squares = total = 0.0
    for row in rows:
        borders = np.flatnonzero(np.diff(row.segments)) + 1
        lengths = np.diff(np.concatenate([[0], borders, [len(row.segments)]])).astype(np.float64)
        squares += float((lengths**2).sum())
        total += float(lengths.sum())
    return squares / total if total else 0.0
