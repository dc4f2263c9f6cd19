"""Ends a run in order."""

import socket
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
    status = runs.shown_status(directory, record)
    if status != "running":
        raise ConfigError(f"run {record.name!r} is {status}, not running")
    if record.job:
        from clusters.launch.job import stop as stop_job

        stop_job(address, record.job)
        return f"asked job {record.job} to stop"
    if record.host != socket.gethostname():
        raise ConfigError(f"run {record.name!r} is driven by {record.host}; stop it there")
    process = psutil.Process(record.pid)
    process.terminate()
    try:
        process.wait(_PATIENCE_SECONDS)
    except psutil.TimeoutExpired:
        raise ConfigError(
            f"process {record.pid} did not end within {_PATIENCE_SECONDS} s; "
            f"kill -9 {record.pid} is safe: the same `inkstone run` goes on"
        ) from None
    return f"run {record.name!r} is {runs.shown_status(directory, runs.load(directory))}"
