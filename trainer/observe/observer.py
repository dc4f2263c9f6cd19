"""Where figures go beside the run's own files: one small interface, chosen by the config."""

import contextlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from clusters.config import ConfigError
from trainer.observe.config import ObserveConfig


class Observer(Protocol):
    """Takes figures of a run as they come; held by rank 0 alone."""

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Take the figures of a step, by name; all are finite numbers."""
        ...

    def close(self) -> None:
        """Write what is held back."""
        ...


Opener = Callable[[int], Observer]
"""Opens an observer, given the first step that it will be told."""


class Observers:
    """All observers of a run. One that fails is left out from there, training goes on."""

    def __init__(self, openers: dict[str, Opener], say: Callable[[str], None]) -> None:
        """Hold observers by name, opened at the first figures; ``say`` is told of failures."""
        self._openers = dict(openers)
        self._open: dict[str, Observer] = {}
        self._say = say

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Pass figures on to all."""
        while self._openers:
            name, opener = self._openers.popitem()
            with self._forgiving(name):
                self._open[name] = opener(step)
        for name, observer in list(self._open.items()):
            with self._forgiving(name):
                observer.scalars(step, values)

    def close(self) -> None:
        """Close all."""
        for name, observer in list(self._open.items()):
            with self._forgiving(name):
                observer.close()
        self._open = {}

    @contextlib.contextmanager
    def _forgiving(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever a tracker's client raises
            self._open.pop(name, None)
            reason = " ".join(str(error).split())
            self._say(f"observe.{name} is left out from here: {type(error).__name__}: {reason}")


_MODULES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}


def check_installed(config: ObserveConfig) -> None:
    """Refuse what is asked for and not installed, before workers start.

    Raises:
        ConfigError: names the key and the package.
    """
    for key, module in _MODULES.items():
        if getattr(config, key) and find_spec(module) is None:
            raise ConfigError(
                f"observe.{key}: the package {module} is not installed; pip install "
                f"'inkstone[{key}]' where the workers run, or leave observe.{key} out"
            )


def openers(config: ObserveConfig, folder: Path, run: str) -> dict[str, Opener]:
    """How to open the observers that ``config`` asks for, by key.

    Args:
        folder: log folder of the stage; TensorBoard's files go to ``tensorboard/`` in it.
        run: what a tracker shows the run as; the same after a restart.
    """
    found: dict[str, Opener] = {}
    if config.tensorboard:
        from trainer.observe.tensorboard import TensorBoard

        found["tensorboard"] = lambda step: TensorBoard(folder / "tensorboard", step)
    if uri := config.mlflow:
        from trainer.observe.mlflow import MLflow

        found["mlflow"] = lambda step: MLflow(uri, run)
    if project := config.wandb:
        from trainer.observe.wandb import WandB

        found["wandb"] = lambda step: WandB(project, run, folder)
    return found
