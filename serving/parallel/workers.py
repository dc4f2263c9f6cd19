"""The processes of ranks 1 and up: starting them, telling them what to do, ending them.

Each worker has one socket to talk over, and a pipe as its standard input that nobody writes to:
it breaks when this process dies, however it dies, and the worker ends itself.
"""

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from contracts.engine import EngineError

_START_SECONDS = 300.0
"""A worker imports torch and transformers before it says hello."""
_END_SECONDS = 10.0
_NEWS_SECONDS = 5.0
"""How long a rank that has failed is given to say why."""


class WorkerLost(EngineError):
    """A tensor-parallel process failed or died: the engine cannot go on."""


class Workers:
    """All ranks but the first. Not thread-safe."""

    def __init__(self, size: int) -> None:
        """Start ``size - 1`` processes; they wait for what they are told."""
        self._folder = tempfile.TemporaryDirectory(prefix="inkstone-ranks-")
        self.meeting = Path(self._folder.name) / "meeting"
        self._lost: WorkerLost | None = None
        self._ended = False
        self.pipes: list[Connection] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        for _ in range(1, size):
            ours, theirs = socket.socketpair()
            self.processes.append(_start(theirs))
            theirs.close()
            self.pipes.append(Connection(ours.detach()))

    @property
    def alive(self) -> bool:
        """Whether every worker can be told something."""
        return self._lost is None and not self._ended

    def tell(self, *message: Any) -> None:
        """Send every worker the same.

        Raises:
            WorkerLost: one is gone; it stays so.
        """
        if self._lost is not None:
            raise self._lost
        # Plain pickle: torch's own for pipes would share memory by file descriptor.
        data = pickle.dumps(message)
        try:
            for pipe in self.pipes:
                pipe.send_bytes(data)
        except OSError as error:
            raise self.fail(error) from error

    def hear(self) -> None:
        """Wait until every worker has said that all is well.

        Raises:
            WorkerLost: one has not.
        """
        for rank, pipe in enumerate(self.pipes, start=1):
            if not pipe.poll(_START_SECONDS):
                raise self.fail(
                    TimeoutError(f"rank {rank} said nothing for {_START_SECONDS:.0f} s")
                )
            try:
                said = pickle.loads(pipe.recv_bytes())
            except (OSError, EOFError) as error:
                raise self.fail(error) from error
            if said is not None:
                raise self._end(f"tensor-parallel rank {rank} failed: {said}")

    def fail(self, cause: BaseException) -> WorkerLost:
        """End all workers; the error says which rank failed, or what happened here."""
        if self._lost is not None:
            return self._lost
        deadline = time.monotonic() + _NEWS_SECONDS
        while (reason := self._reason()) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return self._end(reason or f"tensor-parallel rank 0 failed: {cause}")

    def close(self) -> None:
        """End all workers and wait for them."""
        if self._ended:
            return
        self._ended = True
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            try:
                process.wait(0 if self._lost else _END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
        self._folder.cleanup()

    def _end(self, reason: str) -> WorkerLost:
        self._lost = WorkerLost(reason)
        self.close()
        return self._lost

    def _reason(self) -> str | None:
        """What a worker said of its own end, or how it ended."""
        for rank, (pipe, process) in enumerate(
            zip(self.pipes, self.processes, strict=True), start=1
        ):
            with contextlib.suppress(OSError, EOFError):
                while pipe.poll():
                    said = pickle.loads(pipe.recv_bytes())
                    if said is not None:
                        return f"tensor-parallel rank {rank} failed: {said}"
            if process.poll() is not None:
                return (
                    f"tensor-parallel rank {rank} (process {process.pid}) died: "
                    f"{_how(process.returncode)}"
                )
        return None


def _start(theirs: socket.socket) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p)
    return subprocess.Popen(
        [sys.executable, "-m", "serving.parallel.worker", str(theirs.fileno())],
        stdin=subprocess.PIPE,
        pass_fds=[theirs.fileno()],
        env={**os.environ, "PYTHONPATH": path},
    )


def _how(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
