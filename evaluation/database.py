"""The score database: every evaluated sample as a row, in SQLite or PostgreSQL.

Reports and leaderboards are queries over it. Inserting the same rows twice changes
nothing: a row is named by its scores artifact, model, benchmark, version and sample.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from clusters.config import ConfigError
from contracts.score import Score
from evaluation.summary import Result, Summary

_INSERT_ROWS = 500

METADATA = MetaData()


def _origin_columns() -> list[Column[Any]]:
    return [
        Column("id", Integer, primary_key=True),
        Column("artifact", String(64), nullable=False, index=True),
        Column("run", String(200), nullable=False),
        Column("stage", String(200), nullable=False),
        Column("created", String(32), nullable=False),
        Column("label", String(200), nullable=False),
        Column("model", String(64), nullable=False, index=True),
        Column("benchmark", String(200), nullable=False, index=True),
        Column("version", Integer, nullable=False),
    ]


SCORES = Table(
    "scores",
    METADATA,
    *_origin_columns(),
    Column("sample_id", String(500), nullable=False),
    Column("prompt_hash", String(64), nullable=False),
    Column("output", Text, nullable=False),
    Column("extracted", Text),
    Column("correct", Float, nullable=False),
    Column("error", Text),
    Column("truncated", Boolean, nullable=False),
    Column("latency_ms", Float),
    Column("prompt_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    # A u64 does not fit the signed 64-bit integers of SQL.
    Column("uid", String(20)),
    UniqueConstraint("artifact", "model", "benchmark", "version", "sample_id"),
)
"""``contracts.score.Score`` plus where it came from."""

FIGURES = Table(
    "figures",
    METADATA,
    *_origin_columns(),
    Column("metric", String(64), nullable=False),
    Column("group", String(200), nullable=False),
    Column("mean", Float, nullable=False),
    Column("low", Float),
    Column("high", Float),
    Column("standard_error", Float),
    Column("n", Integer, nullable=False),
    Column("chance", Float),
    Column("errors", Integer, nullable=False),
    Column("truncated", Integer, nullable=False),
    Column("failed_extractions", Integer, nullable=False),
    UniqueConstraint("artifact", "label", "benchmark", "version", "metric", "group"),
)
"""``evaluation.summary.Result`` plus where it came from."""


@dataclass(frozen=True)
class Origin:
    """Where rows come from."""

    artifact: str
    """Fingerprint directory of the scores artifact."""
    run: str
    stage: str


@dataclass(frozen=True)
class Figure:
    """One figure of one model, as its run reported it."""

    run: str
    stage: str
    artifact: str
    created: str
    model: str
    result: Result


@contextmanager
def open_database(url: str, *, create: bool = True) -> Iterator[Engine]:
    """Connect; with ``create``, make the tables and an SQLite file's folder where missing.

    Raises:
        ConfigError: the URL is malformed, nothing answers there, or there are no scores
            and ``create`` is false.
    """
    try:
        engine = _connect(url, create)
    except (ArgumentError, ImportError, OSError, SQLAlchemyError) as error:
        raise ConfigError(
            f"scores database {_hidden(url)}: cannot be opened: {error}; "
            "give an SQLAlchemy URL such as sqlite:///store/scores.db"
        ) from error
    try:
        yield engine
    finally:
        engine.dispose()


def _connect(url: str, create: bool) -> Engine:
    parsed = make_url(url)
    file = parsed.database if parsed.get_backend_name() == "sqlite" else None
    if file and file != ":memory:":
        if not create and not Path(file).is_file():
            raise FileNotFoundError(f"no file {file}")
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed)
    METADATA.create_all(engine)
    return engine


def insert(engine: Engine, origin: Origin, summary: Summary, rows: Iterable[Score]) -> int:
    """Add rows and figures that are not there yet, in one transaction.

    Returns how many rows were new. ``summary`` gives each row's model its short name.
    """
    labels = {entry.model: entry.label for entry in summary.models}
    models = {entry.label: entry.model for entry in summary.models}
    shared = {
        "artifact": origin.artifact,
        "run": origin.run,
        "stage": origin.stage,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    values = [{**_values(row), "label": labels[row.model], **shared} for row in rows]
    figures = [
        {**result.model_dump(), "model": models[result.label], **shared}
        for result in summary.results
    ]
    with engine.begin() as connection:
        before = _count(connection, origin)
        _insert_new(connection, SCORES, values)
        _insert_new(connection, FIGURES, figures)
        return _count(connection, origin) - before


def figures(engine: Engine) -> list[Figure]:
    """Every figure of every run, newest run first, then in the order of the summary."""
    newest = (FIGURES.c.created.desc(), FIGURES.c.artifact, FIGURES.c.id)
    with engine.connect() as connection:
        found = connection.execute(select(FIGURES).order_by(*newest)).mappings()
        return [_figure(dict(row)) for row in found]


def rows_of(engine: Engine, artifact: str) -> list[Score]:
    """The rows of one scores artifact, latency included."""
    names = list(Score.model_fields)
    query = select(*(SCORES.c[name] for name in names)).where(SCORES.c.artifact == artifact)
    with engine.connect() as connection:
        return [Score(**row._mapping) for row in connection.execute(query.order_by(SCORES.c.id))]


def _values(row: Score) -> dict[str, Any]:
    values = row.model_dump()
    values["uid"] = None if row.uid is None else str(row.uid)
    return values


def _figure(row: dict[str, Any]) -> Figure:
    result = Result(**{name: row[name] for name in Result.model_fields})
    names = ("run", "stage", "artifact", "created", "model")
    return Figure(**{name: row[name] for name in names}, result=result)


def _insert_new(connection: Connection, table: Table, values: list[dict[str, Any]]) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).on_conflict_do_nothing()
    for start in range(0, len(values), _INSERT_ROWS):
        connection.execute(statement, values[start : start + _INSERT_ROWS])


def _count(connection: Connection, origin: Origin) -> int:
    query = select(func.count()).where(SCORES.c.artifact == origin.artifact)
    return int(connection.execute(query).scalar_one())


def _hidden(url: str) -> str:
    """The URL without its password, for messages."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return repr(url)
