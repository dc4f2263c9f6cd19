"""How every command of Inkstone starts and ends: known errors in one line, exit codes."""

import sys

import typer

from clusters.artifact import ArtifactError
from clusters.config import ConfigError
from clusters.runner import Stopped
from clusters.stage import StageError


def run_app(app: typer.Typer) -> None:
    """Run a command line. Exit codes: 0 well, 1 failed, 2 wrong input, 130 stopped."""
    try:
        app()
    except ConfigError as error:
        _end(error, 2)
    except (ArtifactError, StageError) as error:
        _end(error, 1)
    except Stopped as error:
        _end(error, 130)


def _end(error: BaseException, code: int) -> None:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(code)
