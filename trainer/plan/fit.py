"""Fitting a cluster's two constants, hop latency and network share, to its ``fit`` rows."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import exp, log, sqrt
from typing import Protocol

from trainer.plan.communication import Constants

ROW_DEVIATION = 0.02
"""Standard deviation of a row around a perfect fit: published runs repeat to about this."""
HOP_DEVIATION = 0.5
"""Standard deviation of the hop latency around its default, in e-folds."""
SHARE_DEVIATION = 0.2
"""The same for the network share, which is known better."""
LOWEST_SHARE = 0.1
WIDEST = 2.0
"""Longest step of the hop latency in one search, in e-folds."""


class HasError(Protocol):
    """A prediction: ``error`` as a fraction."""

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        ...


def fit(predict: Callable[[Constants], Sequence[HasError]], default: Constants) -> Constants:
    """The constants that fit best, or ``default`` where there is nothing to fit to.

    The most probable constants given normal errors of the rows and log-normal priors around
    the defaults, so that few or odd rows move them little: golden sections along each
    constant in turn.

    Args:
        predict: the ``fit`` rows' predictions under given constants.
        default: the constants to start from.
    """
    if not predict(default):
        return default

    def loss(hop: float, share: float) -> float:
        tried = replace(default, hop=exp(hop), network_share=exp(share))
        return (
            sum((item.error / ROW_DEVIATION) ** 2 for item in predict(tried))
            + ((hop - log(default.hop)) / HOP_DEVIATION) ** 2
            + ((share - log(default.network_share)) / SHARE_DEVIATION) ** 2
        )

    hop, share = log(default.hop), log(default.network_share)
    for _ in range(6):
        hop = _golden(partial(loss, share=share), hop - WIDEST, hop + WIDEST)
        share = _golden(partial(loss, hop), log(LOWEST_SHARE), 0.0)
    return replace(default, hop=exp(hop), network_share=exp(share))


def _golden(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function of one dip is least (Kiefer, 1953)."""
    ratio = (sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(24):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return (low + high) / 2
