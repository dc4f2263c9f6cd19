"""Which rows of a forward belong to which adapter."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from serving.engine.batch import Batch


@dataclass(frozen=True)
class Routes:
    """The adapters of one forward."""

    groups: list[tuple[str, torch.Tensor | None]]
    """(adapter, its rows); None is all rows."""
    by_row: bool
    """Every adapter is multiplied with all rows, whoever they belong to, and with each by
    itself, so that no shape, no place in a product and with them no bit depends on company."""


class _Active(threading.local):
    """What this thread's forward runs over."""

    routes: Routes | None = None


_active = _Active()


@contextmanager
def routed(routes: Routes | None) -> Iterator[None]:
    """Layers that run inside the block add adapters to these rows."""
    _active.routes = routes
    try:
        yield
    finally:
        _active.routes = None


def active_routes() -> Routes | None:
    """The adapters of the forward that this thread runs."""
    return _active.routes


def routes_of(batch: Batch, fixed: bool) -> Routes | None:
    """The adapters of a batch's rows; None where there are none.

    Args:
        batch: what is computed.
        fixed: bits must not depend on company. A chunk of a prompt then has a batch of its own.
    """
    rows: dict[str, list[int]] = {}
    used = 0
    for chunk, last in zip(batch.order, batch.last_rows, strict=True):
        used += chunk.count
        if chunk.sequence.adapter is not None:
            wanted = range(last - chunk.count + 1, last + 1)
            rows.setdefault(chunk.sequence.adapter, []).extend(wanted)
    if not rows:
        return None
    total = batch.ids.shape[1]
    device = batch.ids.device
    return Routes(
        [
            (name, None if len(own) == total else torch.tensor(own, device=device))
            for name, own in rows.items()
        ],
        fixed and batch.decodes,
    )


def all_rows(adapter: str | None) -> Routes | None:
    """Every row with one adapter."""
    return None if adapter is None else Routes([(adapter, None)], False)
