"""Where a training stage's figures go, beside its own files."""

from clusters.config import StageConfig, execution


class ObserveConfig(StageConfig):
    """Who is told of every step. None of it changes what is trained."""

    tensorboard: bool = execution(True)
    """Write TensorBoard's event files into the run's log folder."""
    ray_metrics: bool = execution(True)
    """Set Ray's metrics, which Prometheus scrapes, where workers run under Ray."""
    mlflow: str | None = execution(None)
    """Tracking store or server of MLflow, a folder or URL; needs the package mlflow."""
    wandb: str | None = execution(None)
    """Project in Weights & Biases; needs the package wandb. With WANDB_MODE=offline nothing
    leaves the machine."""
    every: int = execution(1, gt=0)
    """Steps between the figures that are passed on; the run's own files have every step."""
