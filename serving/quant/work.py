"""The folder in which ``inkstone serve quantize`` works: a killed command goes on in it."""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusters.config import ConfigError
from clusters.files import link_or_copy, replace_json
from clusters.progress import Progress
from clusters.units import Units

_ASKED, _LOCK, _MODEL = "asked.json", "lock", "model"


@dataclass(frozen=True)
class Work:
    """What is there of a folder that is being made."""

    folder: Path
    units: Units

    def assemble(self) -> Path:
        """A fresh model directory with the files of all published units."""
        model = self.folder / _MODEL
        shutil.rmtree(model, ignore_errors=True)
        model.mkdir()
        for record in self.units.records():
            for name, path in record.files.items():
                link_or_copy(self.units.resolve(path), model / Path(name).name)
        return model


@contextlib.contextmanager
def work_beside(out: Path, asked: dict[str, Any], progress: Progress) -> Iterator[Work]:
    """The hidden folder beside ``out``, held by one process; it goes when the block ends well.

    Pieces that a killed or failed command has left are kept where it asked for the same.

    Args:
        out: the folder that is to be made.
        asked: all that decides the bytes of the pieces.
        progress: told of what is kept.

    Raises:
        ConfigError: another process makes the same folder, it exists, or none can be made there.
    """
    folder = out.with_name(f".{out.name}.partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {out}: {folder} cannot be made: {error.strerror}") from error
    with open(folder / _LOCK, "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"--out {out}: another command is making it; wait for it") from None
        if out.exists():
            raise ConfigError(f"--out {out}: exists already; name a folder that does not")
        _begin(folder, asked)
        units = Units(folder)
        try:
            yield Work(folder, units)
        except BaseException:
            if units.records():
                progress.say(f"what is packed is kept in {folder}; the same command goes on there")
            else:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _begin(folder: Path, asked: dict[str, Any]) -> None:
    """Keep what is there of the same work, and drop what is of another."""
    note = folder / _ASKED
    try:
        if json.loads(note.read_text(encoding="utf-8")) == asked:
            return
    except (OSError, ValueError):
        pass
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
    replace_json(note, asked)
