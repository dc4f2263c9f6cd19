"""Ray Serve around the HTTP app: a replica that comes back."""

import contextlib
import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clusters.stage import StageError
from contracts.manifest import hash_bytes
from serving.client import Endpoint
from serving.directory import check_model
from serving.proxy import QUIET, check_address, proxy
from serving.settings import EngineSettings

QUEUED_AT_PROXY = 256
"""Requests Serve's proxy holds while no replica is up; beyond that it answers 503."""
RESTARTS = 3
"""How often a replica that fails to start is tried again."""


@dataclass(frozen=True)
class ReplicaSettings:
    """What a replica needs to start; holds no key, only its hash."""

    model_dir: str
    model_name: str
    key_hash: str | None
    max_sequences: int
    engine: EngineSettings


class ModelReplica:
    """One engine and its HTTP app in one Ray actor."""

    def __init__(self, settings: ReplicaSettings) -> None:
        from serving.http.service import Service
        from serving.load import load_engine
        from serving.tokenizer import ChatTokenizer

        path = Path(settings.model_dir)
        self._engine: Any = load_engine(path, settings.engine)
        self._service = Service(
            self._engine,
            ChatTokenizer.load(path),
            settings.model_name,
            key_hash=settings.key_hash,
            max_sequences=settings.max_sequences,
        )

    def __serve_build_asgi_app__(self) -> Any:
        """Called by Serve once the replica is constructed."""
        from serving.http.openai import build_app

        return build_app(self._service)

    def check_health(self) -> None:
        """Called by Serve: a replica whose engine has died is replaced."""
        if not self._engine.alive:
            raise RuntimeError("the engine's thread has ended")

    def __del__(self) -> None:
        if hasattr(self, "_engine"):
            self._engine.close()


@contextlib.contextmanager
def serve_model(
    model_dir: Path | str,
    *,
    model_name: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key: str | None = None,
    engine: EngineSettings | None = None,
    max_sequences: int = 256,
    num_cpus: float = 0.5,
) -> Iterator[Endpoint]:
    """Serve a model on the connected Ray while the block runs.

    Args:
        model_dir: HF-layout directory, or one that ``serving.quantize`` made.
        model_name: the name clients ask for.
        host: address to listen on.
        port: port to listen on; 0 takes a free one, or the one this process already
            serves another model on.
        api_key: what clients must send; one is made where none is given. The empty
            string means none is needed, which only a loopback address may offer.
        engine: how the model is run; without ``threads`` all of this machine's CPUs are
            shared out over the replica's processes.
        max_sequences: sequences running and waiting; beyond that requests get 429.
        num_cpus: CPUs that Ray sets aside for the replica.

    Raises:
        ConfigError: the port is taken, or no key on an address others can reach.
        ModelError: the directory is missing, half written, damaged or unsupported.
        StageError: the replica failed to start; says why.
    """
    from ray import serve

    key = secrets.token_urlsafe(24) if api_key is None else api_key
    check_address(host, port, key)
    check_model(Path(model_dir))
    engine = engine or EngineSettings()
    threads = engine.threads or max(1, _cpus() // engine.tensor_parallel)
    settings = ReplicaSettings(
        model_dir=str(Path(model_dir).resolve()),
        model_name=model_name,
        key_hash=hash_bytes(key.encode()) if key else None,
        max_sequences=max_sequences,
        engine=replace(engine, threads=threads),
    )
    with _quiet_driver(), proxy(host, port) as address:
        name = f"inkstone-{secrets.token_hex(4)}"
        prefix = "/" if not serve.status().applications else f"/{name}"
        try:
            _run(_replica(settings, num_cpus, _gpus(settings.engine)), name, prefix)
            base = f"http://{address}{prefix.rstrip('/')}/v1"
            yield Endpoint(base_url=base, api_key=key or "none", model_name=model_name)
        finally:
            serve.delete(name)


def _gpus(engine: EngineSettings) -> int:
    """GPUs that Ray sets aside for the replica; without any it hides them from it."""
    import ray

    if engine.device == "auto" and engine.tensor_parallel == 1:
        return int(ray.cluster_resources().get("GPU", 0) >= 1)
    return int(engine.device == "cuda")


def _replica(settings: ReplicaSettings, num_cpus: float, num_gpus: int) -> Any:
    """The Serve application: one replica, restarted when it dies."""
    from ray import serve

    deployment: Any = serve.deployment(serve.ingress()(ModelReplica))
    return deployment.options(
        name="model",
        num_replicas=1,
        ray_actor_options={"num_cpus": num_cpus, "num_gpus": num_gpus},
        # The app itself refuses with 429 before Serve's own limits are met.
        max_ongoing_requests=settings.max_sequences + 64,
        max_queued_requests=QUEUED_AT_PROXY,
        max_constructor_retry_count=RESTARTS,
        health_check_period_s=2,
        health_check_timeout_s=30,
        graceful_shutdown_wait_loop_s=0.2,
        graceful_shutdown_timeout_s=5,
        logging_config=QUIET,
    ).bind(settings)


def _run(app: Any, name: str, prefix: str) -> None:
    from ray import serve

    try:
        serve.run(app, name=name, route_prefix=prefix, logging_config=QUIET)
    except RuntimeError as error:
        status = serve.status().applications[name]
        reports = [status.message, *(each.message for each in status.deployments.values())]
        raise StageError(f"the endpoint did not start: {_reason(reports)}") from error


def _reason(reports: list[str]) -> str:
    """The replica's own error: the last line of the last traceback Serve passes on."""
    lines = [line.strip() for report in reports for line in report.splitlines() if line.strip()]
    return lines[-1] if lines else "Serve gave no reason"


@contextlib.contextmanager
def _quiet_driver() -> Iterator[None]:
    """Serve's own lines about starting and deleting stay out of this process's output."""
    logger = logging.getLogger("ray.serve")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _cpus() -> int:
    return len(os.sched_getaffinity(0))
