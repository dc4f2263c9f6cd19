"""``python -m evaluation``: this room's verbs alone."""

from clusters.console import run_app
from evaluation.cli import app

if __name__ == "__main__":
    run_app(app)
