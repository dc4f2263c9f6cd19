"""What a rule answers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rejection:
    """Why a rule rejects a document."""

    reason: str
    """A short code, unique within the rule."""
    value: float | None = None
    """What was measured; the threshold is in the config."""
