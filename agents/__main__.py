"""``python -m agents``: this room's verbs."""

from agents.cli import app
from clusters.console import run_app

if __name__ == "__main__":
    run_app(app)
