"""The engine's thread: takes commands, and steps the model while there is work."""

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import torch

from contracts.engine import EngineRequest
from serving.engine.errors import Interrupted
from serving.engine.guide import Matcher
from serving.engine.steps import Stepper
from serving.engine.stream import Stream
from serving.engine.threads import release_team


class EngineLoop:
    """Owns the model. Public methods may be called from any thread."""

    def __init__(self, stepper: Stepper, threads: int | None) -> None:
        self.stepper = stepper
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._side_work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = (
            queue.SimpleQueue()
        )
        self._threads = threads
        self._closed = threading.Event()
        self._gate = threading.Lock()
        """Held to close and to send: no command is left behind by a thread that has ended."""
        # Who makes the loop has loaded the model.
        release_team()
        self._thread = threading.Thread(target=self._run, name="inkstone-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def add(self, request: EngineRequest, stream: Stream, matcher: Matcher | None = None) -> None:
        """Queue a request; its chunks arrive on ``stream``.

        Raises:
            Interrupted: the engine is closed.
        """
        self._send(lambda: self.stepper.add(request, stream, matcher))

    def abort(self, request_id: str, stream: Stream | None = None) -> None:
        """End a request within a step (only that of ``stream``, where one is given)."""
        with contextlib.suppress(Interrupted):
            self._send(lambda: self.stepper.abort(request_id, stream))

    def between_steps(self, work: Callable[[], Any]) -> Future[Any]:
        """Run ``work`` in the thread between two steps.

        Raises:
            Interrupted: the engine is closed.
        """
        future: Future[Any] = Future()
        self._send(lambda: self._side_work.put((future, work)))
        return future

    def close(self) -> None:
        """Abort what runs and stop the thread."""
        self._shut()
        self._thread.join()

    def _send(self, command: Callable[[], None]) -> None:
        with self._gate:
            if self._closed.is_set():
                raise Interrupted("the engine is closed")
            self._commands.put(command)

    def _shut(self) -> None:
        with self._gate:
            self._closed.set()
            self._commands.put(lambda: None)

    def _run(self) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        try:
            while not self._closed.is_set():
                self._take_commands()
                self._one_side_job()
                self.stepper.step()
        finally:
            self._shut()
            self._let_go()

    def _one_side_job(self) -> None:
        """At most one between two steps, so that neither side starves the other."""
        try:
            future, work = self._side_work.get_nowait()
        except queue.Empty:
            return
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)

    def _let_go(self) -> None:
        """End everybody who waits for this thread."""
        self._take_commands(wait=False)
        self.stepper.abort_all()
        while not self._side_work.empty():
            future, _ = self._side_work.get_nowait()
            if future.set_running_or_notify_cancel():
                future.set_exception(Interrupted("the engine is closed"))

    def _take_commands(self, wait: bool = True) -> None:
        idle = not self.stepper.scheduler.has_work and self._side_work.empty()
        with contextlib.suppress(queue.Empty):
            self._commands.get(block=wait and idle)()
            while True:
                self._commands.get_nowait()()
