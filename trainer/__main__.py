"""``python -m trainer``: this room's verbs."""

from clusters.console import run_app
from trainer.cli import app

if __name__ == "__main__":
    run_app(app)
