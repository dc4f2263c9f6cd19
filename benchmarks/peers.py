"""Runs peers in an environment of their own, as whole processes.

``make peers`` makes the environment from ``benchmarks/peers.txt``.
"""

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def peer_python() -> Path:
    """The peers' interpreter.

    Raises:
        SystemExit: there is none.
    """
    path = Path(os.environ.get("INKSTONE_PEERS", ROOT / ".peers")) / "bin" / "python"
    if not path.exists():
        raise SystemExit(f"{path} is missing: run `make peers`, or set INKSTONE_PEERS")
    return path


def run_peer(script: Path, *arguments: object, timeout: float = 3600) -> dict[str, Any]:
    """Run a script in the peers' environment; see :func:`run_timed`."""
    command = [str(peer_python()), str(script), *map(str, arguments)]
    return run_timed(command, timeout=timeout)


def run_timed(
    command: Sequence[str], *, timeout: float = 3600, env: dict[str, str] | None = None
) -> dict[str, Any]:
    """Run a command to its end; what its last line says as JSON, and its wall time.

    Returns:
        The JSON object of the last line of its output (empty where that is none), and
        ``process_seconds``, the wall time of the whole process with its start.

    Raises:
        RuntimeError: it failed; holds the end of what it said.
    """
    started = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **(env or {})},
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{command}: exit {done.returncode}\n{done.stderr[-3000:]}")
    lines = done.stdout.strip().splitlines()
    try:
        said = json.loads(lines[-1])
    except (IndexError, ValueError):
        said = {}
    return {**(said if isinstance(said, dict) else {}), "process_seconds": seconds}
