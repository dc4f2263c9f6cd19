"""``inkstone doctor``: one line per thing that could go wrong here, and its remedy."""

from clusters.doctor.checks import CHECKS
from clusters.doctor.finding import Finding

__all__ = ["Finding", "diagnose"]


def diagnose() -> list[Finding]:
    """Run every check; none of them changes anything."""
    return [check() for check in CHECKS]
