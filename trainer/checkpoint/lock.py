"""One driver at a time writes the checkpoints of an artifact."""

import contextlib
import errno
import fcntl
from collections.abc import Iterator
from pathlib import Path

from clusters.stage import StageError

LOCK_NAME = "lock"
_UNKNOWN = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)
"""What file systems without locks say."""


@contextlib.contextmanager
def only_driver(state: Path) -> Iterator[None]:
    """Be the one driver of the state folder ``state`` while the block runs.

    Runs of other names may ask for the same artifact, and so share its checkpoints; two that
    trained at once would clear away each other's unfinished ones. The system gives the lock
    back when the process ends, however it ends.

    Raises:
        StageError: another process trains this artifact.
    """
    with open(state / LOCK_NAME, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StageError(
                f"{state}: another run trains the same artifact; wait until it is done, then the "
                "same command takes its result; or stop it, then the same command goes on"
            ) from None
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
        yield
