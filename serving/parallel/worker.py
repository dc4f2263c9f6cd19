"""``python -m serving.parallel.worker FD``: one rank, which does what rank 0 tells it."""

import contextlib
import os
import pickle
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any


def main() -> None:
    """Open this rank's part of the model, then follow rank 0 until it ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pipe = Connection(int(sys.argv[1]))
    try:
        _follow(pipe)
    except EOFError:
        os._exit(0)  # rank 0 has closed; nothing of this process is worth tidying up
    except BaseException as error:
        with contextlib.suppress(OSError):
            pipe.send_bytes(pickle.dumps(f"{type(error).__name__}: {error}"))
        # At once: the others wait for this rank in a sum.
        os._exit(1)


def _follow(pipe: Connection) -> None:
    from serving.parallel.runner import follow, open_rank

    pipe.send_bytes(pickle.dumps(None))
    runner = open_rank(*_receive(pipe))
    pipe.send_bytes(pickle.dumps(None))
    while True:
        follow(runner, *_receive(pipe))


def _receive(pipe: Connection) -> tuple[Any, ...]:
    message: tuple[Any, ...] = pickle.loads(pipe.recv_bytes())
    return message


def _end_with_parent() -> None:
    """Standard input is a pipe from rank 0's process that breaks when that process dies."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
