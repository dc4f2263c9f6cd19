"""The live ledger: how far reading is, how fast, and what each step keeps of it."""

import time
from pathlib import Path
from typing import Any

from clusters.files import replace_json
from corpus.ledger import STEPS, Amount, StepCount, Tally

LIVE_NAME = "ledger.live.json"
_MOST_REASONS = 2


class LiveLedger:
    """Adds up the units of reading as they finish; keeps ``ledger.live.json`` up to date."""

    def __init__(self, log_dir: Path, stored_bytes: int, read_before: int = 0) -> None:
        """Start the clock.

        Args:
            log_dir: where ``ledger.live.json`` is written.
            stored_bytes: of all shards, as they are stored; 0 where that is not known.
            read_before: bytes of the shards that an earlier attempt has read; they come
                first and count, but not towards rates.
        """
        self.tally = Tally()
        self._path = log_dir / LIVE_NAME
        self._total = stored_bytes
        self._before = read_before
        self._done = 0
        self._base = Amount()
        self._started = time.monotonic()

    def add(self, stats: dict[str, Any]) -> str:
        """Count a finished unit; returns the line that people see."""
        self.tally.merge(stats["tally"])
        self._done += stats["stored_bytes"]
        if self._done <= self._before:
            self._base = self.tally.amount("read")
        replace_json(self._path, self.as_json())
        return self.line()

    def as_json(self) -> dict[str, Any]:
        """Contents of ``ledger.live.json``: rates are of this process since it started."""
        entered = self.tally.amount("read")
        documents, size = self._rates(entered)
        return {
            "documents": entered.documents,
            "bytes": entered.bytes,
            "stored_bytes": self._done,
            "stored_bytes_in_all": self._total,
            "documents_per_second": documents,
            "bytes_per_second": size,
            "eta_seconds": self._eta(),
            "steps": [_share(step) for step in self._steps()],
        }

    def line(self) -> str:
        """Records, rate, ETA by bytes, and the steps that lose most."""
        entered, kept = self.tally.amount("read"), self.tally.amount("decontaminate", "")
        documents, size = self._rates(entered)
        eta = self._eta()
        parts = [
            f"{entered.documents:,} records ({documents:,.0f}/s, {size / 1e6:.1f} MB/s)",
            f"{kept.documents:,} candidates ({kept.bytes / 1e6:.1f} MB)",
            *([] if not eta else [f"about {eta:.0f} s of reading left"]),
            *(_loss(step) for step in self._steps() if step.rejected),
        ]
        return ", ".join(parts)

    def _seconds(self) -> float:
        return max(time.monotonic() - self._started, 1e-9)

    def _rates(self, entered: Amount) -> tuple[float, float]:
        """Documents and bytes of text per second of this process."""
        seconds = self._seconds()
        documents = (entered.documents - self._base.documents) / seconds
        return documents, (entered.bytes - self._base.bytes) / seconds

    def _eta(self) -> float | None:
        now = self._done - self._before
        if now <= 0 or self._total < self._done:
            return None
        return self._seconds() * (self._total - self._done) / now

    def _steps(self) -> list[StepCount]:
        seen = {row[0] for row in self.tally.rows()}
        return [self.tally.step(name) for name in STEPS if name in seen]


def _share(step: StepCount) -> dict[str, Any]:
    entered = step.entered.documents
    return {
        "name": step.name,
        "entered": entered,
        "passed": step.passed.documents,
        "keep_share": step.passed.documents / entered if entered else None,
        "rejected": {reason: amount.documents for reason, amount in step.rejected.items()},
    }


def _loss(step: StepCount) -> str:
    """Share that a step keeps, and its commonest reasons."""
    kept = 100 * step.passed.documents / max(step.entered.documents, 1)
    reasons = sorted(step.rejected.items(), key=lambda item: (-item[1].documents, item[0]))
    names = ", ".join(f"{reason} {a.documents:,}" for reason, a in reasons[:_MOST_REASONS])
    return f"{step.name} keeps {kept:.0f} % ({names})"
