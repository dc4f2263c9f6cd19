"""What an engine knows of the adapters it holds."""

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.engine import UnknownAdapter


@dataclass(frozen=True)
class LoadedAdapter:
    """One adapter."""

    digest: str
    """blake3 of its files."""
    root: int
    """What cache blocks computed with it begin from."""


def unknown_adapter(name: str, known: Iterable[str]) -> UnknownAdapter:
    """The error for a name that is not loaded."""
    there = ", ".join(repr(n) for n in sorted(known)) or "none"
    return UnknownAdapter(f"no adapter {name!r} is loaded; there are: {there}")
