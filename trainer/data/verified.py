"""Token stores whose bytes were compared with their checksums, and a note that says so.

A note spares a run that starts again from reading the whole store once more. It holds for the
files as they were: their sizes, the times of their last change, and the digest of
``store.json``, which names every checksum.
"""

import contextlib
import json
import time
from pathlib import Path
from typing import Any

from clusters.files import replace_json
from contracts.documents import TRAIN, VALIDATION
from contracts.manifest import hash_file
from contracts.token_store import STORE_NAME

SETTLED_SECONDS = 1.0
"""A file must be left alone for as long before it is noted."""


def damage_of(tokens: Path, note: Path, force: bool = False) -> str:
    """What is wrong with the bytes of a tokens artifact, or nothing.

    Args:
        tokens: folder with ``train/`` and, if there is one, ``validation/``.
        note: JSON file that keeps what was compared; written where nothing is wrong.
        force: read everything, whatever the note says.
    """
    from corpus.token_store import TokenStore

    started = time.time()
    there = [tokens / split for split in (TRAIN, VALIDATION)]
    roots = [root for root in there if (root / STORE_NAME).exists()]
    seen = {root.name: _stamp(root) for root in roots}  # before reading: a change meanwhile shows
    if not force and _noted(note) == seen:
        return ""
    for root in roots:
        problems = TokenStore.open(root).verify()
        if problems:
            return problems[0]
    if all(_settled(stamp, started) for stamp in seen.values()):
        with contextlib.suppress(OSError):  # a full disk: the next start reads again
            replace_json(note, seen)
    return ""


def _settled(stamp: dict[str, Any], now: float) -> bool:
    """Whether a later change must show: clocks of file systems tick in milliseconds."""
    newest = max(time_ns for _, *times in stamp["files"].values() for time_ns in times)
    return bool(newest / 1e9 < now - SETTLED_SECONDS)


def _stamp(root: Path) -> dict[str, Any]:
    """What changes with the bytes: sizes (bytes) and times (ns) of all files, and the digest."""
    files = {}
    for path in sorted(root.iterdir()):
        about = path.stat()
        files[path.name] = [about.st_size, about.st_mtime_ns, about.st_ctime_ns]
    return {"store": hash_file(root / STORE_NAME)[1], "files": files}


def _noted(note: Path) -> Any:
    try:
        return json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none, or cut short: read the store again
        return None
