"""Figures to Weights & Biases."""

from pathlib import Path


class WandB:
    """A run in Weights & Biases; ``WANDB_MODE=offline`` keeps it in ``folder``."""

    def __init__(self, project: str, run: str, folder: Path) -> None:
        """Start the run named ``run``, or go on with it."""
        import wandb

        self._run = wandb.init(
            project=project, name=run, id=run, dir=str(folder), resume="allow", reinit="create_new"
        )

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Log all figures of a step at once."""
        self._run.log(values, step=step)

    def close(self) -> None:
        """Upload the rest and end the run."""
        self._run.finish()
