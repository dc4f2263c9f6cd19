"""Named places in the code at which a test may kill the process.

``INKSTONE_FAILPOINT=NAME:TOKEN_FILE`` makes the process that first reaches
``failpoint(NAME)`` remove TOKEN_FILE and die by SIGKILL. The token makes it happen
once, whichever process of a run gets there; without the variable nothing happens.
"""

import os
import signal

VARIABLE = "INKSTONE_FAILPOINT"


def failpoint(name: str) -> None:
    """Die here if this failpoint is armed."""
    armed = os.environ.get(VARIABLE)
    if not armed:
        return
    wanted, _, token = armed.partition(":")
    if wanted != name:
        return
    try:
        os.unlink(token)
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
