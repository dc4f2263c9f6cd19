"""TensorBoard event files."""

from pathlib import Path

_FLUSH_SECONDS = 10


class TensorBoard:
    """Writes an event file; ``tensorboard --logdir runs/NAME/logs`` shows it as it grows."""

    def __init__(self, folder: Path, first_step: int) -> None:
        """Start a file; what older files in ``folder`` have from ``first_step`` on is hidden."""
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(
            str(folder), purge_step=first_step, flush_secs=_FLUSH_SECONDS, write_to_disk=True
        )

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Write each figure under its name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()
