"""Connects this process to Ray: a cluster of its own, the job's, or a named one.

The one place that calls ``ray.init``.
"""

import contextlib
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from clusters.config import ConfigError, StageConfig, execution

Where = Literal["embedded", "job", "remote"]
_STARTS = 4
_TOO_SLOW = "timed out during startup"


class ClusterConfig(StageConfig):
    """How much of this machine an embedded cluster takes, or which cluster to join."""

    num_cpus: int | None = execution(None, gt=0)
    """CPUs of an embedded cluster; by default all of this machine."""
    object_store_bytes: int = execution(512 << 20, ge=80 << 20)
    """Shared-memory object store of an embedded cluster, in bytes."""
    address: str | None = execution(None)
    """``host:port`` of a running cluster's head, for ``remote``."""
    dashboard: bool = execution(False)
    """Start the dashboard of an embedded cluster, on 127.0.0.1."""


@contextlib.contextmanager
def connect(where: Where, config: ClusterConfig) -> Iterator[None]:
    """Hold a connection while the block runs; what was started here is stopped here.

    Raises:
        ConfigError: no such cluster, or it does not answer, or this machine is too busy for one.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    # uv would make every worker resolve its environment again.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["PYTHONPATH"] = _python_path()
    # It warns at every start that authentication is on, which is what we want.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    if where == "embedded":
        os.environ.pop("RAY_ADDRESS", None)
        with _private_files():
            _start_embedded(config)
    else:
        address = "auto" if where == "job" else config.address
        if not address:
            raise ConfigError("cluster.address: missing; --on remote needs host:port of the head")
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
        except (ConnectionError, RuntimeError) as error:
            raise ConfigError(
                f"cluster.address: no Ray cluster answers at {address}: {error}"
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _start_embedded(config: ClusterConfig) -> None:
    """Start a cluster of this process's own.

    Ray gives a node 30 seconds to start, whatever else the machine does, and ``ray.init`` cannot
    be told otherwise: where that was too short it is tried again.
    """
    import ray

    for _ in range(_STARTS):
        try:
            ray.init(
                address="local",
                num_cpus=config.num_cpus,
                object_store_memory=config.object_store_bytes,
                include_dashboard=config.dashboard,
                dashboard_host="127.0.0.1",
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
            return
        except Exception as error:  # Ray raises no narrower one
            if _TOO_SLOW not in str(error):
                raise
    raise ConfigError(
        f"cluster: Ray's node was not up within 30 seconds, {_STARTS} times; "
        "is this machine busy? Try again when less runs on it, or --on remote"
    )


def _python_path() -> str:
    """Workers find the rooms as this process does, installed or not."""
    here = str(Path(__file__).resolve().parent.parent)
    paths = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    return os.pathsep.join(paths if here in paths else [here, *paths])


@contextlib.contextmanager
def _private_files() -> Iterator[None]:
    """Ray writes its auth token with the default mode; what it writes now is ours alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    if token.exists():
        token.chmod(stat.S_IRUSR | stat.S_IWUSR)
