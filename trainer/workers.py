"""Ray shell: runs a training job on workers, follows it, and reports what came out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clusters.config import ConfigError
from clusters.progress import Progress
from clusters.stage import StageError
from trainer.bad_steps import TrainingDiverged
from trainer.checkpoint import METRICS_NAME, CheckpointError
from trainer.checkpoint.lock import only_driver
from trainer.config import ParallelConfig
from trainer.follow import Follower
from trainer.job import TRAINER_NAME, Job, run_rank
from trainer.metrics import MetricsLog
from trainer.observe.observer import Observer, check_installed
from trainer.observe.ray_gauges import RayGauges
from trainer.parallel.device import on_gpus, rank_device


class TrainingFailed(StageError):
    """Training stopped: a retry does not help, or too many were needed."""


def run_job(job: Job, progress: Progress) -> dict[str, Any]:
    """Train to the end; returns counts and figures of the result.

    Raises:
        TrainingFailed: the loss diverged, no checkpoint can be resumed from, or workers
            died more often than ``parallel.max_failures`` allows.
        StageError: another run trains the same artifact.
        ConfigError: the cluster is too small for the workers.
    """
    parallel = job.objective.config.parallel
    check_installed(job.objective.config.observe)
    with (
        only_driver(job.out.state_dir),
        progress.task(job.objective.name, unit="steps") as task,
    ):
        follower = Follower(job.timings, task, progress)
        with follower.following():
            if parallel.workers == 1 and parallel.min_workers is None:
                rank_device(parallel)
                _run_or_note(job, rank=0)
            else:
                _run_on_ray(job)
    if follower.failure is not None:
        raise TrainingFailed(follower.failure)
    if not follower.finished:
        raise TrainingFailed(f"{job.prefix}: the workers ended without a result; see {job.timings}")
    return _stats(job)


def _run_or_note(
    job: Job,
    rank: int,
    leaving: Callable[[], bool] = lambda: False,
    gauges: Callable[[str], Observer] | None = None,
) -> None:
    """Train; what no retry can mend is noted instead of raised, so that Ray does not retry."""
    try:
        run_rank(job, leaving, gauges)
    except (TrainingDiverged, CheckpointError) as error:
        try:
            MetricsLog(job.timings if rank == 0 else None).failed(str(error))
        except StageError:  # the logs are on the same full disk
            raise error from None


def _train_function(config: dict[str, Any]) -> None:
    import ray.train
    import torch.distributed as dist

    def leaving() -> bool:
        """Whether a worker's node is about to be taken away; a barrier, alike on all ranks."""
        return ray.train.get_preemption_info() is not None

    _run_or_note(config["job"], dist.get_rank(), leaving, RayGauges)


def _run_on_ray(job: Job) -> None:
    import ray
    from ray.train.torch import TorchConfig
    from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.exceptions import TrainingFailedError
    from ray.train.v2.torch.torch_trainer import TorchTrainer

    parallel = job.objective.config.parallel
    fewest = parallel.min_workers or parallel.workers
    wanted = fewest * parallel.cpus_per_worker
    there = ray.cluster_resources()
    total = there.get("CPU", 0.0)
    if wanted > total:
        raise ConfigError(
            f"parallel.workers: {fewest} workers of {parallel.cpus_per_worker:g} CPUs "
            f"need {wanted:g}, the cluster has {total:g}; lower parallel.cpus_per_worker"
        )
    gpus = on_gpus(parallel, there.get("GPU", 0.0))
    trainer = TorchTrainer(
        _train_function,
        train_loop_config={"job": job},
        torch_config=TorchConfig(
            backend="nccl" if gpus else "gloo",
            timeout_s=parallel.collective_timeout_seconds,
        ),
        scaling_config=ScalingConfig(
            num_workers=_num_workers(parallel),
            elastic_resize_monitor_interval_s=parallel.resize_seconds,
            use_gpu=gpus,
            resources_per_worker={"CPU": parallel.cpus_per_worker, **({"GPU": 1} if gpus else {})},
        ),
        run_config=RunConfig(
            name=f"{job.objective.name}-{job.out.attempt}",
            storage_path=str((job.timings.parent / "ray").absolute()),
            failure_config=FailureConfig(max_failures=parallel.max_failures),
            worker_runtime_env={"env_vars": _worker_environment()},
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise TrainingFailed(
            f"{job.prefix}: gave up after {parallel.max_failures} restarts of the workers "
            f"(parallel.max_failures); the last failure: {_cause(error)}; "
            f"logs are in {job.timings.parent.absolute()}"
        ) from error


def _num_workers(parallel: ParallelConfig) -> int | tuple[int, int]:
    if parallel.min_workers is None:
        return parallel.workers
    return parallel.min_workers, parallel.workers


def _cause(error: Exception) -> str:
    """One line that says why Ray Train gave up."""
    failures = getattr(error, "worker_failures", None) or {}
    causes = [*failures.values(), getattr(error, "controller_failure", None), error]
    cause = next(cause for cause in causes if cause is not None)
    cause = getattr(cause, "_base_exc", cause)  # Ray's wrapper around a worker's exception
    lines = str(cause).strip().splitlines() or ["no message"]
    return f"{type(cause).__name__}: {lines[0]}"


def _worker_environment() -> dict[str, str]:
    """Loopback for gloo where all workers are on this machine."""
    import ray

    variables = {"TOKENIZERS_PARALLELISM": "false"}
    loopback = _loopback_interface()
    if loopback and sum(node["Alive"] for node in ray.nodes()) == 1:
        variables["GLOO_SOCKET_IFNAME"] = loopback
    return variables


def _loopback_interface() -> str | None:
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == "127.0.0.1" for address in addresses):
            return name
    return None


def _stats(job: Job) -> dict[str, Any]:
    summary = json.loads(job.out.path(TRAINER_NAME).read_text(encoding="utf-8"))
    entries = _read_jsonl(job.out.path(METRICS_NAME))
    steps = [entry for entry in entries if "loss" in entry]
    validation = [entry["validation"] for entry in entries if "validation" in entry]
    out = {
        "steps": summary["step"],
        "parameters": summary["parameters"],
        "loss_tokens": sum(entry["loss_tokens"] for entry in steps),
        **{
            f"validation_loss/{domain}": loss
            for domain, loss in validation[-1].items()
            if loss is not None  # null stands for what is no finite number
        },
    }
    return {
        "in": summary["in"],
        "out": out,
        "world_size": summary["world_size"],
        "loss_first": steps[0]["loss"],
        "loss_last": steps[-1]["loss"],
        "validation_first": validation[0],
        **{key: summary[key] for key in ("unigram_loss",) if key in summary},
    }


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
