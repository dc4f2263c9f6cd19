"""Which engine a name means."""

import importlib.util

from contracts.engine import Engine, EngineError
from serving.folder import ModelFolder
from serving.settings import EngineSettings

ENGINES = ("paged", "transformers", "vllm", "lmdeploy")
"""Ours, the reference, and two that are optional extras."""


class EngineUnavailable(EngineError):
    """An engine that is unknown, not installed, or cannot do what was asked."""


def installed(name: str) -> bool:
    """Whether an engine's package is here; importing it is not tried."""
    return name == "paged" or importlib.util.find_spec(name) is not None


def check_engine(settings: EngineSettings) -> None:
    """Refuse an engine that cannot be opened here.

    Raises:
        EngineUnavailable: there is none of that name, it is not installed, or it lacks a
            setting that was changed.
    """
    name = settings.engine
    if name not in ENGINES:
        raise EngineUnavailable(f"engine {name!r}: there are {', '.join(ENGINES)}")
    if not installed(name):
        raise EngineUnavailable(f"engine {name!r} is not installed; pip install 'inkstone[{name}]'")
    extra = settings.of_paged_alone() if name != "paged" else []
    if extra:
        raise EngineUnavailable(f"engine {name!r} has no {', '.join(extra)}; only paged has")


def open_other(folder: ModelFolder, settings: EngineSettings) -> Engine:
    """An engine other than ``paged``.

    Raises:
        EngineUnavailable: says what to install, or which setting to leave out.
        ModelError: the model cannot be opened.
    """
    check_engine(settings)
    if settings.engine == "vllm":
        from serving.engines.vllm import open_vllm

        return open_vllm(folder, settings)
    if settings.engine == "lmdeploy":
        from serving.engines.lmdeploy import open_lmdeploy

        return open_lmdeploy(folder, settings)
    from serving.engines.reference import open_reference

    return open_reference(folder, settings)
