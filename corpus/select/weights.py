"""From domain sizes to integer weights of a mixture."""

from collections.abc import Mapping

from corpus.errors import CorpusError
from corpus.select.config import MixtureConfig
from corpus.token_store.mixture import total_weight

_TOLERANCE = 0.01
"""How far above ``max_repeats`` whole weights may come without a note, as a share of it."""
_EPSILON = 1e-9
"""Floats this close are equal."""


def shares_of(
    sizes: Mapping[str, int], config: MixtureConfig
) -> tuple[dict[str, float], list[str]]:
    """Domain -> share of what is trained on, and what could not be held to.

    Raises:
        CorpusError: a weight names no domain, or a domain has no weight.
    """
    shares = _normalised(_wanted(sizes, config))
    caps = caps_of(sizes, config)
    if caps is None:
        return shares, []
    return _capped(shares, caps, config.max_repeats or 0.0, _train_bytes(sizes, config))


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
    shares: dict[str, float], caps: dict[str, float], max_repeats: float, train_bytes: int
) -> tuple[dict[str, float], list[str]]:
    """Water-filling: a domain at its cap stays there, the others grow in proportion."""
    caps = {name: caps[name] for name in shares}
    reach = sum(caps.values())
    if reach <= 1:
        note = (
            f"max_repeats {max_repeats:g} times the selected text is less than train_bytes "
            f"{train_bytes}: every domain is repeated equally, more often than max_repeats"
        )
        return _normalised(caps), [note] if reach < 1 - _EPSILON else []
    fixed: dict[str, float] = {}
    while True:
        free = {name: share for name, share in shares.items() if name not in fixed}
        left = 1 - sum(fixed.values())
        scaled = {name: share * left / sum(free.values()) for name, share in free.items()}
        over = [name for name, share in scaled.items() if share > caps[name] * (1 + 1e-12)]
        if not over:
            return {name: (fixed | scaled)[name] for name in sorted(shares)}, []
        fixed |= {name: caps[name] for name in over}


def integer_weights(
    shares: Mapping[str, float], caps: Mapping[str, float] | None = None
) -> dict[str, int]:
    """Whole weights in these shares, each at least 1.

    Args:
        shares: domain -> share.
        caps: domain -> share that rounding may not lift it over; what they lose so the
            others gain.
    """
    total = total_weight(shares.values())
    wanted = {name: share * total for name, share in sorted(shares.items())}
    weights = {name: max(round(weight), 1) for name, weight in wanted.items()}
    if not caps:
        return weights
    most = {name: caps[name] * total * (1 + _EPSILON) for name in weights}
    weights = {name: max(min(weight, int(most[name])), 1) for name, weight in weights.items()}
    for _ in range(total - sum(weights.values())):
        below = [name for name in weights if weights[name] + 1 <= most[name]]
        bound = wanted if below else most
        name = min(below or weights, key=lambda name: (weights[name] + 1) / bound[name])
        weights[name] += 1
    return weights


def caps_of(sizes: Mapping[str, int], config: MixtureConfig) -> dict[str, float] | None:
    """Domain -> the share at which it is seen ``max_repeats`` times; None without such a bound."""
    if config.max_repeats is None:
        return None
    limit = config.max_repeats / max(_train_bytes(sizes, config), 1)
    return {name: limit * size for name, size in sizes.items()}


def repeats_of(
    weights: Mapping[str, int], sizes: Mapping[str, int], config: MixtureConfig
) -> dict[str, float]:
    """How often each domain's text is seen in ``train_bytes`` by these whole weights."""
    per_weight = _train_bytes(sizes, config) / max(sum(weights.values()), 1)
    return {name: weight * per_weight / sizes[name] for name, weight in weights.items()}


def _train_bytes(sizes: Mapping[str, int], config: MixtureConfig) -> int:
    return config.train_bytes or sum(sizes.values())


def rounding_notes(
    repeats: Mapping[str, float], weights: Mapping[str, int], config: MixtureConfig
) -> list[str]:
    """Domains whose whole weight breaks ``max_repeats``: their share is too small for it."""
    if config.max_repeats is None:
        return []
    total = sum(weights.values())
    return [
        f"domain {name!r} is seen {often:.4g} times, more often than max_repeats "
        f"{config.max_repeats:g}: no whole weight of {total} in all comes closer to its share; "
        "join it with another domain, or drop it by weight 0"
        for name, often in sorted(repeats.items())
        if often > config.max_repeats * (1 + _TOLERANCE)
    ]
