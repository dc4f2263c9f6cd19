"""``python -m serving``: this room's verbs."""

from clusters.console import run_app
from serving.cli import app

if __name__ == "__main__":
    run_app(app)
