"""Distributions of prompt and output lengths, as a user spells them."""

import math
import random
from dataclasses import dataclass
from typing import Literal

from clusters.config import ConfigError

_FORMS = "N, fixed:N, uniform:LOW:HIGH or lognormal:MEDIAN:SIGMA"


@dataclass(frozen=True)
class Lengths:
    """A distribution of numbers of tokens."""

    kind: Literal["fixed", "uniform", "lognormal"]
    first: float
    """The number itself, the smallest, or the median."""
    second: float = 0.0
    """The largest, or the standard deviation of the natural log."""

    def draw(self, rng: random.Random) -> int:
        """One length, at least 1."""
        if self.kind == "uniform":
            return rng.randint(int(self.first), int(self.second))
        if self.kind == "lognormal":
            return max(1, round(self.first * math.exp(rng.gauss(0, self.second))))
        return int(self.first)


def parse_lengths(option: str, text: str) -> Lengths:
    """``128``, ``fixed:128``, ``uniform:64:256`` or ``lognormal:128:0.5``.

    Args:
        option: the option's name, for the error.
        text: what the user wrote.

    Raises:
        ConfigError: it is none of the forms, or numbers that cannot be lengths.
    """
    kind, *numbers = text.split(":") if ":" in text else ("fixed", text)
    wanted = {"fixed": 1, "uniform": 2, "lognormal": 2}.get(kind)
    try:
        if wanted != len(numbers):
            raise ValueError
        made = _made(kind, numbers)
    except ValueError:
        raise ConfigError(f"{option}: {text!r} is none of {_FORMS}") from None
    return made


def _made(kind: str, numbers: list[str]) -> Lengths:
    if kind == "lognormal":
        median, sigma = map(float, numbers)
        if not (1 <= median < math.inf and 0 <= sigma < math.inf):
            raise ValueError
        return Lengths("lognormal", median, sigma)
    low, high = int(numbers[0]), int(numbers[-1])
    if not 1 <= low <= high:
        raise ValueError
    return Lengths("fixed", low) if kind == "fixed" else Lengths("uniform", low, high)
