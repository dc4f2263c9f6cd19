"""``python -m clusters``."""

from clusters.cli import app
from clusters.console import run_app

run_app(app)
