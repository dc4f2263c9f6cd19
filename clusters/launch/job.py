"""Submits a run as a Ray job and follows it to its end."""

import json
import os
import shlex
import sys
import time
from pathlib import Path

from clusters.config import ConfigError

INSIDE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets this variable in the driver of a submitted job."""
_POLL_SECONDS = 1.0


def inside_job() -> bool:
    """True where this process is the driver of a submitted Ray job."""
    return INSIDE in os.environ


def submit(address: str, arguments: list[str], *, name: str) -> str:
    """Submit ``python -m inkstone ARGUMENTS`` with this folder; returns the job's id.

    ``address`` is the cluster's dashboard, e.g. ``http://127.0.0.1:8265``.

    Raises:
        ConfigError: nothing answers there.
    """
    from ray.job_submission import JobSubmissionClient

    try:
        client = JobSubmissionClient(address)
    except (ConnectionError, RuntimeError) as error:
        raise ConfigError(
            f"--address {address}: no Ray dashboard answers there: {error}"
        ) from error
    root = Path(__file__).resolve().parents[2]
    entrypoint = shlex.join(["python", "-m", "inkstone", *arguments])
    return client.submit_job(
        entrypoint=entrypoint,
        metadata={"inkstone_run": name},
        runtime_env={"env_vars": {"PYTHONPATH": str(root)}},
    )


def follow(address: str, job: str) -> bool:
    """Print the job's log until it ends; True where it succeeded.

    ``ray job submit`` counts a stopped job as a success; here it is none.
    """
    from ray.job_submission import JobStatus, JobSubmissionClient

    client = JobSubmissionClient(address)
    printed = 0
    while True:
        status = client.get_job_status(job)
        log = client.get_job_logs(job)
        sys.stderr.write(log[printed:])
        sys.stderr.flush()
        printed = len(log)
        if status.is_terminal():
            return status == JobStatus.SUCCEEDED
        time.sleep(_POLL_SECONDS)


def stop(address: str, job: str) -> None:
    """Ask the job's driver to end."""
    from ray.job_submission import JobSubmissionClient

    JobSubmissionClient(address).stop_job(job)


def job_id() -> str | None:
    """Submission id of the job this process drives, or None outside of one."""
    if not inside_job():
        return None
    settings = json.loads(os.environ[INSIDE])
    return settings.get("metadata", {}).get("job_submission_id")
