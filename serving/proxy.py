"""Ray Serve's HTTP proxy: on a port that is ours, stopped with all of Serve."""

import contextlib
import ipaddress
import logging
import socket
import time
from collections.abc import Iterator

from clusters.config import ConfigError

QUIET = {"log_level": "WARNING", "enable_access_log": False}
"""Serve's log settings."""
STOP_SECONDS = 30
"""How long Serve may take to stop."""
_bound: list[str] = []
"""``host:port`` of the Serve this process started, while it runs."""


@contextlib.contextmanager
def proxy(host: str, port: int) -> Iterator[str]:
    """Serve's proxy on ``host:port``, or the one this process has already started."""
    from ray import serve

    if _bound:
        yield _bound[0]
        return
    if port == 0:
        port = _free_port(host)
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": host, "port": port},
        logging_config=QUIET,
    )
    _bound.append(f"{'127.0.0.1' if host == '0.0.0.0' else host}:{port}")
    try:
        yield _bound[0]
    finally:
        _bound.clear()
        _stop_serve()


def _stop_serve() -> None:
    """Stop all of Serve and wait until its controller has ended.

    ``serve.shutdown`` waits inside a task of the controller, which then ends under that task:
    Ray tells the console that it failed and will be retried. So ask without waiting there,
    and look from here.
    """
    import ray
    from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
    from ray.serve.context import _set_global_client

    controller = {"name": SERVE_CONTROLLER_NAME, "namespace": SERVE_NAMESPACE}
    with contextlib.suppress(ValueError, ray.exceptions.RayActorError):  # it has ended already
        handle = ray.get_actor(**controller)
        ray.get(handle.graceful_shutdown.remote(wait=False), timeout=STOP_SECONDS)
    end = time.monotonic() + STOP_SECONDS
    while controller in ray.util.list_named_actors(all_namespaces=True):
        if time.monotonic() > end:
            logging.getLogger(__name__).warning("Ray Serve has not stopped in %d s", STOP_SECONDS)
            break
        time.sleep(0.05)
    _set_global_client(None)


def check_address(host: str, port: int, key: str) -> None:
    """Refuse a port that is taken, or an open address without a key, before any work.

    Raises:
        ConfigError: says which, and the remedy.
    """
    if not key and not _is_loopback(host):
        raise ConfigError(f"host {host!r} can be reached by others: an API key is needed there")
    if port == 0:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} on {host} cannot be used ({error.strerror}); "
                "name another with --port, or 0 for a free one"
            ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
