"""Learning-rate schedules."""

import math

from trainer.config import OptimiserConfig


def learning_rate(step: int, total_steps: int, config: OptimiserConfig) -> float:
    """Learning rate of a 0-based step: linear warm-up, then the schedule.

    ``cosine`` (arXiv:1608.03983) falls to ``final_lr_ratio`` of the peak at the last step;
    ``wsd`` (warm-up, stable, decay; arXiv:2404.06395) stays at the peak and falls along a
    line in the last ``decay_share`` of the steps; ``constant`` stays.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "cosine":
        first = config.warmup_steps
    else:
        first = max(config.warmup_steps, total_steps - round(config.decay_share * total_steps))
    span = max(1, total_steps - first - 1)
    done = min(1.0, max(0.0, (step - first) / span))
    height = 0.5 * (1 + math.cos(math.pi * done)) if config.schedule == "cosine" else 1 - done
    return config.lr * (config.final_lr_ratio + (1 - config.final_lr_ratio) * height)
