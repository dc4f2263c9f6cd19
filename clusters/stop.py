"""Ends a run in order."""

from pathlib import Path

import psutil

from clusters import runs
from clusters.config import ConfigError

_PATIENCE_SECONDS = 60


def stop(directory: Path, address: str) -> str:
    """Ask the driver of a run to end and wait for it; returns what happened, in one line.

    Raises:
        ConfigError: the run does not run, or its driver did not end in time.
    """
    record = runs.load(directory)
    if record.status != "running":
        raise ConfigError(f"run {record.name!r} is not running: it is {record.shown_status}")
    if record.job:
        from clusters.launch.job import stop as stop_job

        stop_job(address, record.job)
        return f"asked job {record.job} to stop"
    if not record.alive:
        raise ConfigError(f"run {record.name!r} was killed; the same `inkstone run` goes on")
    process = psutil.Process(record.pid)
    process.terminate()
    try:
        process.wait(_PATIENCE_SECONDS)
    except psutil.TimeoutExpired:
        raise ConfigError(
            f"process {record.pid} did not end within {_PATIENCE_SECONDS} s; "
            f"kill -9 {record.pid} is safe: the same `inkstone run` goes on"
        ) from None
    return f"run {record.name!r} is {runs.load(directory).shown_status}"
