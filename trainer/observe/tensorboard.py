"""Figures to TensorBoard's event files."""

import atexit
import contextlib
import time
from pathlib import Path

_FLUSH_SECONDS = 10


class TensorBoard:
    """Writes an event file; ``tensorboard --logdir runs/NAME/logs`` shows it as it grows.

    In the caller's thread: the writer of tensorboardX has one of its own, and once a full disk
    has ended that, the next figures wait for it without end.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        """Start a file; what older files in ``folder`` have from ``first_step`` on is hidden."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        self._file = EventsWriter(str(folder / "events"))
        started = SessionLog(status=SessionLog.START)
        now = time.time()
        self._file.write_event(Event(wall_time=now, step=first_step, session_log=started))
        self._flushed = 0.0
        atexit.register(self._flush)  # a run that fails closes nothing

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Write each figure under its name.

        Raises:
            OSError: the disk is full or broken.
        """
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        figures = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=figures))
        self._file.write_event(event)
        if time.monotonic() - self._flushed >= _FLUSH_SECONDS:
            self._file.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Flush and close the file."""
        atexit.unregister(self._flush)
        self._file.close()

    def _flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # full, or closed by a failed write
            self._file.flush()
