"""Verbs about corpora; the front door offers them as ``inkstone corpus VERB``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clusters.stage_verbs import add_stage_verb

app = typer.Typer(no_args_is_help=True, help="Raw text to documents and tokens.")
add_stage_verb(app, "build", "corpus.build", "Clean raw text to documents.")
add_stage_verb(app, "select", "corpus.select", "Choose documents by score, and weigh domains.")
add_stage_verb(app, "recall", "corpus.recall", "Find text like some seeds in a large pool.")
add_stage_verb(app, "complete", "corpus.complete", "Fill a mixture's short domains from a pool.")
add_stage_verb(app, "tokenizer", "corpus.tokenizer", "Train a tokenizer.")
add_stage_verb(app, "tokens", "corpus.tokens", "Turn documents into a token store.")


class ExportFormat(StrEnum):
    """What ``export`` writes."""

    MEGATRON = "megatron"
    JSONL = "jsonl"
    PARQUET = "parquet"


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def stats(
    path: Annotated[Path, typer.Argument(help="runs/NAME/STAGE or an artifact directory.")],
    json: JsonOption = False,
) -> None:
    """Show a corpus' funnel and what was kept, or the tokens per domain of token stores."""
    from corpus.show import print_stats

    print_stats(path, json)


@app.command()
def why(
    key: Annotated[str, typer.Argument(metavar="UID", help="Uid, id or URL of a document.")],
    path: Annotated[Path, typer.Argument(help="runs/NAME/STAGE or a corpus artifact.")],
    json: JsonOption = False,
) -> None:
    """Say why a document was kept or rejected: scores and cluster, or step and reason."""
    from corpus.show import print_fates

    print_fates(key, path, json)


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="runs/NAME/STAGE or an artifact directory.")],
    out: Annotated[Path, typer.Argument(help="A folder that is new or empty.")],
    form: Annotated[
        ExportFormat,
        typer.Option("--format", help="megatron (of tokens), jsonl or parquet (of a corpus)."),
    ],
    split: Annotated[str | None, typer.Option(help="Only train or only validation.")] = None,
    selection: Annotated[
        Path | None, typer.Option(help="Only what this artifact of corpus.select chose.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write documents or tokens in a format that other programs read."""
    from corpus.show import print_export

    print_export(path, out, form.value, split, selection, json)


@app.command()
def report(
    path: Annotated[Path, typer.Argument(help="runs/NAME/STAGE or a corpus artifact.")],
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("report.html"),
) -> None:
    """Write a corpus' report as one HTML page that needs no network."""
    from corpus.report.page import write_report

    print(write_report(path, out))


@app.command()
def calibrate(
    path: Annotated[str, typer.Argument(help="File, folder or glob of good documents.")],
    lang: Annotated[str, typer.Option(help="ISO 639-1 code of their language.")],
    field: Annotated[str, typer.Option(help="Field or column with the text.")] = "text",
    tail: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share that one threshold may reject.")
    ] = 0.02,
    limit: Annotated[int, typer.Option(min=1, help="Most documents measured.")] = 5000,
) -> None:
    """Write thresholds of the rules for a language, as YAML for a recipe's ``rules``."""
    from corpus.rules.calibrate_files import calibrated_yaml

    typer.echo(calibrated_yaml(path, lang, field, tail, limit), nl=False)
