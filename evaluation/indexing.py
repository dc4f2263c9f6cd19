"""Fills the score database from a scores artifact: it is an index and can be made anew."""

from dataclasses import dataclass
from pathlib import Path

from clusters.artifact import Artifact
from contracts.score import Score
from evaluation.database import Origin, insert, open_database
from evaluation.jobs import read_rows
from evaluation.summary import Summary


@dataclass(frozen=True)
class Indexed:
    """What indexing an artifact came to."""

    artifact: str
    run: str
    stage: str
    rows: int
    """Rows of the artifact, controls left out."""
    added: int
    """Those that were not there yet."""


def index_scores(path: Path, url: str, run: str | None = None) -> Indexed:
    """Insert an artifact's rows and figures; latencies, which it does not hold, stay empty.

    Args:
        path: ``runs/NAME/STAGE``, which names run and stage, or the artifact itself.
        url: SQLAlchemy URL of the database.
        run: name of the run; overrides the one in ``path``.

    Raises:
        ArtifactError: no scores artifact there.
        ConfigError: the database cannot be opened.
    """
    scores = Artifact.open(path, "scores")
    summary = Summary.model_validate_json(scores.path("summary.json").read_text(encoding="utf-8"))
    found = list(model_rows(scores, summary))
    link = path.is_symlink()
    origin = Origin(
        artifact=scores.directory.name,
        run=run or (path.absolute().parent.name if link else scores.directory.name[:12]),
        stage=path.name if link else scores.manifest.stage,
    )
    with open_database(url) as database:
        added = insert(database, origin, summary, found)
    return Indexed(origin.artifact, origin.run, origin.stage, len(found), added)


def model_rows(scores: Artifact, summary: Summary) -> list[Score]:
    """The rows of every contestant, in the order of the summary; controls are none."""
    return [
        row
        for entry in summary.models
        for path in scores.files(f"scores/part-{entry.label}-")
        for row in read_rows(path)
        if row.model == entry.model
    ]
