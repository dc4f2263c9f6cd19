"""Learning-rate schedule."""

import math


def learning_rate(
    step: int, *, peak: float, warmup_steps: int, total_steps: int, final_ratio: float
) -> float:
    """Linear warm-up, then a cosine down to ``final_ratio * peak`` (arXiv:1608.03983).

    Args:
        step: 0-based number of the step about to be taken.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    span = max(1, total_steps - warmup_steps - 1)
    done = min(1.0, (step - warmup_steps) / span)
    return peak * (final_ratio + (1 - final_ratio) * 0.5 * (1 + math.cos(math.pi * done)))
