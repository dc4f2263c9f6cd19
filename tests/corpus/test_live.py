"""The live ledger while units finish."""

import json
import time
from pathlib import Path

import pytest

from corpus.ledger import Tally
from corpus.live import LIVE_NAME, LiveLedger


def unit(passed: int, rejected: int, stored: int) -> dict:
    tally = Tally()
    tally.add("read", "", "web", "und", 1000 * (passed + rejected), passed + rejected)
    tally.add("rules", "", "web", "en", 1000 * passed, passed)
    tally.add("rules", "gopher.short", "web", "en", 1000 * rejected, rejected)
    tally.add("decontaminate", "", "web", "en", 1000 * passed, passed)
    return {"tally": tally.rows(), "stored_bytes": stored}


def test_shares_rates_and_eta_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    live = LiveLedger(tmp_path, stored_bytes=400, read_before=100)
    live.add(unit(90, 10, 100))  # of an earlier attempt: no time has passed
    now[0] += 10
    line = live.add(unit(30, 70, 100))
    assert line == (
        "200 records (10/s, 0.0 MB/s), 120 candidates (0.1 MB), about 20 s of reading left, "
        "rules keeps 60 % (gopher.short 80)"
    )
    said = json.loads((tmp_path / LIVE_NAME).read_text())
    assert said["eta_seconds"] == pytest.approx(20)
    rules = next(step for step in said["steps"] if step["name"] == "rules")
    assert (rules["keep_share"], rules["rejected"]) == (0.6, {"gopher.short": 80})
