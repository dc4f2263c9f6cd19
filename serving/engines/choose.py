"""Which engine a name means."""

import importlib.util
from pathlib import Path
from typing import Any

from contracts.engine import Engine, EngineError

ENGINES = ("paged", "transformers", "vllm", "lmdeploy")
"""Ours, the reference, and two that are optional extras."""


class EngineUnavailable(EngineError):
    """An engine that is unknown, not installed, or cannot do what was asked."""


def installed(name: str) -> bool:
    """Whether an engine's package is here; importing it is not tried."""
    return name == "paged" or importlib.util.find_spec(name) is not None


def check_engine(name: str) -> None:
    """Refuse an engine that cannot be opened here.

    Raises:
        EngineUnavailable: there is none of that name, or it is not installed.
    """
    if name not in ENGINES:
        raise EngineUnavailable(f"engine {name!r}: there are {', '.join(ENGINES)}")
    if not installed(name):
        raise EngineUnavailable(f"engine {name!r} is not installed; pip install 'inkstone[{name}]'")


def open_other(name: str, path: Path, settings: dict[str, Any], extra: list[str]) -> Engine:
    """An engine other than ``paged``.

    Args:
        name: which.
        path: model directory.
        settings: what every engine takes: ``slots``, ``max_context``, ``threads``,
            ``cache_tokens``.
        extra: settings of ``paged`` alone that were asked for.

    Raises:
        EngineUnavailable: says what to install, or which setting to leave out.
        ModelError: the model cannot be opened.
    """
    check_engine(name)
    if extra:
        raise EngineUnavailable(f"engine {name!r} has no {', '.join(extra)}; only paged has")
    if name == "vllm":
        from serving.engines.vllm import open_vllm

        return open_vllm(path, **settings)
    if name == "lmdeploy":
        from serving.engines.lmdeploy import open_lmdeploy

        return open_lmdeploy(path, **settings)
    from serving.engines.reference import open_reference

    return open_reference(path, **settings)
