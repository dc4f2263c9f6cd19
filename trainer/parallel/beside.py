"""Collectives beside the computation: by a thread on a CPU, by a stream on a GPU."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol

import torch

Job = Callable[[], None]


class Beside(Protocol):
    """Does jobs one after another, in the order in which they come."""

    def submit(self, job: Job) -> None:
        """Have a job done on what the caller has computed so far."""
        ...

    def wait(self) -> None:
        """Go on when all jobs are done; raises what the first that failed raised."""
        ...


def beside(device: torch.device) -> Beside:
    """What suits the device that the tensors lie on."""
    return SideStream(device) if device.type == "cuda" else SideThread()


class SideThread:
    """A thread that lives from the first job to ``wait``.

    One, and not a collective's own asynchrony: jobs of several collectives, each of which needs
    the one before, keep the order that all ranks must have alike. It is a daemon, so that a
    process whose training failed does not wait for its peers when it ends.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def submit(self, job: Job) -> None:
        """Queue a job; it is dropped where one before it failed."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="beside", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def wait(self) -> None:
        """End the thread when the queue is empty."""
        if self._thread is None:
            return
        self._jobs.put(None)
        self._thread.join()
        self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._error is None:
                try:
                    job()
                except BaseException as error:
                    self._error = error


class SideStream:
    """A CUDA stream. Jobs are launched at once by the caller, so that all ranks launch alike."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    def submit(self, job: Job) -> None:
        """Launch a job behind all that the current stream was given so far."""
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            job()

    def wait(self) -> None:
        """Let the current stream wait for the jobs."""
        torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)
