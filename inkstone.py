"""The front door: the ``inkstone`` command, made of each room's verbs."""

import typer

from agents.cli import app as agents
from clusters.cli import app
from clusters.console import run_app
from corpus.cli import app as corpus
from evaluation.cli import app as evaluation
from serving.cli import app as serving
from trainer.cli import app as trainer


def build() -> typer.Typer:
    """The whole command."""
    app.info.help = (
        "Raw web text to a served, measured, tool-using language model, with one command."
    )
    app.add_typer(corpus, name="corpus", help="Raw text to documents, tokenizer, token store.")
    app.add_typer(trainer, name="train", help="Token store and conversations to checkpoints.")
    app.add_typer(serving, name="serve", help="Checkpoint to engine to endpoint.")
    app.add_typer(evaluation, name="eval", help="Engines to scores and reports.")
    app.add_typer(agents, name="agent", help="Endpoint and tools to trajectories.")
    return app


def main() -> None:
    """Entry point of the ``inkstone`` script."""
    run_app(build())


if __name__ == "__main__":
    main()
