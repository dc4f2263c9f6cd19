"""Work units: a stage's work in pieces, each published by its own record.

A rerun redoes only what is not published. A record is created once and whole, so a
piece that two workers finish counts once.
"""

import contextlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clusters.failpoints import failpoint
from clusters.files import publish


@dataclass(frozen=True)
class UnitRecord:
    """A published unit."""

    name: str
    files: dict[str, str]
    """Logical name -> path below ``work/``: these become files of the artifact."""
    scratch: dict[str, str]
    """Like ``files``, but only for later steps of the same stage."""
    stats: dict[str, Any]


@dataclass
class Unit:
    """A unit being worked on. Write to ``path``/``scratch``, fill ``stats``."""

    name: str
    _work: Path
    _part: str
    stats: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    scratch_files: dict[str, str] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        """Where to write a data file of the artifact."""
        return self._register(self.files, name)

    def scratch(self, name: str) -> Path:
        """Where to write something only later steps of this stage read."""
        return self._register(self.scratch_files, name)

    def _register(self, table: dict[str, str], name: str) -> Path:
        table[name] = f"parts/{self._part}/{name}"
        path = self._work / table[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


class Units:
    """The units of one artifact, below its ``work/`` folder. Picklable."""

    def __init__(self, work: Path) -> None:
        self.work = work

    @contextlib.contextmanager
    def start(self, name: str) -> Iterator[Unit]:
        """Work on unit ``name`` (``step/key``); it is published when the block ends well."""
        unit = Unit(name, self.work, secrets.token_hex(8))
        yield unit
        failpoint(f"unit.{name.split('/')[0]}.before_publish")
        self._publish(unit)
        failpoint(f"unit.{name.split('/')[0]}.after_publish")

    def record(self, name: str) -> UnitRecord | None:
        """The record of a unit, or None while it is not published."""
        path = self._record_path(name)
        try:
            return UnitRecord(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def published(self, name: str) -> UnitRecord:
        """The record of a unit that is done.

        Raises:
            RuntimeError: it is not published.
        """
        record = self.record(name)
        if record is None:
            raise RuntimeError(f"unit {name} is not published")
        return record

    def scratch(self, unit: str, name: str) -> Path:
        """Absolute path of a scratch file of a published unit."""
        return self.resolve(self.published(unit).scratch[name])

    def pending(self, names: list[str]) -> list[str]:
        """Those of ``names`` that are not published yet, in the same order."""
        return [name for name in names if not self._record_path(name).exists()]

    def records(self, step: str = "") -> list[UnitRecord]:
        """All published records (of one step), by name."""
        root = self.work / "units"
        paths = sorted((root / step).rglob("*.json")) if root.exists() else []
        return [UnitRecord(**json.loads(p.read_text(encoding="utf-8"))) for p in paths]

    def resolve(self, path: str) -> Path:
        """Absolute path of a file that a record names."""
        return self.work / path

    def _record_path(self, name: str) -> Path:
        return self.work / "units" / f"{name}.json"

    def _publish(self, unit: Unit) -> None:
        record = {
            "name": unit.name,
            "files": unit.files,
            "scratch": unit.scratch_files,
            "stats": unit.stats,
        }
        publish(self._record_path(unit.name), json.dumps(record, ensure_ascii=False))
