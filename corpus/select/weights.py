"""From domain sizes to integer weights of a mixture."""

from collections.abc import Mapping

from corpus.errors import CorpusError
from corpus.select.config import MixtureConfig

TOTAL_WEIGHT = 1000
"""About the sum of the weights: the period of the sampler's deficit table."""


def shares_of(
    sizes: Mapping[str, int], config: MixtureConfig
) -> tuple[dict[str, float], list[str]]:
    """Domain -> share of what is trained on, and what could not be held to.

    Raises:
        CorpusError: a weight names no domain, or a domain has no weight.
    """
    shares = _normalised(_wanted(sizes, config))
    if config.max_repeats is None:
        return shares, []
    return _capped(shares, sizes, config.max_repeats, config.train_bytes or sum(sizes.values()))


def _wanted(sizes: Mapping[str, int], config: MixtureConfig) -> dict[str, float]:
    if config.weights is None:
        return {name: size ** (1 / config.temperature) for name, size in sizes.items() if size}
    for name, weight in config.weights.items():
        if weight and not sizes.get(name):
            known = ", ".join(sorted(sizes)) or "none"
            raise CorpusError(
                f"mixture.weights.{name}: no selected train document is of this domain; "
                f"domains are: {known}. Mend the name, give it 0, or loosen the thresholds"
            )
    for name in sizes:
        if name not in config.weights:
            raise CorpusError(
                f"mixture.weights: domain {name!r} has no weight; give one (0 drops it)"
            )
    return {name: config.weights[name] for name in sizes if config.weights[name] and sizes[name]}


def _normalised(weights: dict[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weights[name] / total for name in sorted(weights)} if total else {}


def _capped(
    shares: dict[str, float], sizes: Mapping[str, int], max_repeats: float, train_bytes: int
) -> tuple[dict[str, float], list[str]]:
    """Water-filling: a domain at its cap stays there, the others grow in proportion."""
    caps = {name: max_repeats * sizes[name] / train_bytes for name in shares}
    if sum(caps.values()) <= 1:
        note = (
            f"max_repeats {max_repeats:g} times the selected text is less than train_bytes "
            f"{train_bytes}: every domain is repeated equally, more often than max_repeats"
        )
        return _normalised(caps), [note]
    fixed: dict[str, float] = {}
    while True:
        free = {name: share for name, share in shares.items() if name not in fixed}
        left = 1 - sum(fixed.values())
        scaled = {name: share * left / sum(free.values()) for name, share in free.items()}
        over = [name for name, share in scaled.items() if share > caps[name] * (1 + 1e-12)]
        if not over:
            return {name: (fixed | scaled)[name] for name in sorted(shares)}, []
        fixed |= {name: caps[name] for name in over}


def integer_weights(shares: Mapping[str, float]) -> dict[str, int]:
    """Whole weights in these shares, about ``TOTAL_WEIGHT`` in all, each at least 1."""
    return {name: max(round(share * TOTAL_WEIGHT), 1) for name, share in sorted(shares.items())}
