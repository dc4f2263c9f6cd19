"""Runs our extraction and trafilatura's on the same archive, in turns, one process each."""

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpus.mixed_pages_data import web_folder
from benchmarks.peers import run_peer, run_timed

HERE = Path(__file__).parent
ROUNDS = 3


@dataclass(frozen=True)
class Side:
    """Texts by URL, and the best rate of the rounds."""

    texts: dict[str, str]
    pages_per_second: float
    careful_share: float


def both(name: str) -> tuple[Side, Side]:
    """Ours and trafilatura's, of one archive of ``web/``."""
    archive = web_folder() / f"{name}.warc.gz"
    with tempfile.TemporaryDirectory() as scratch:
        ours, theirs = Path(scratch, "ours.json"), Path(scratch, "theirs.json")
        command = [sys.executable, "-m", "benchmarks.corpus.extract_ours", str(archive), str(ours)]
        said = [
            (run_timed(command), run_peer(HERE / "peers" / "extract_pages.py", archive, theirs))
            for _ in range(ROUNDS)
        ]
        return _side(ours, [a for a, _ in said]), _side(theirs, [b for _, b in said])


def _side(path: Path, said: list[dict]) -> Side:
    rate = max(run["pages"] / run["cpu_seconds"] for run in said)
    return Side(json.loads(path.read_text()), round(rate, 1), said[0].get("careful_share", 0.0))
