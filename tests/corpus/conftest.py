"""Corpus artifacts made from given documents, for tests of what reads a corpus."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clusters.artifact import Artifact
from clusters.config import StageConfig
from clusters.execute import run_stage
from clusters.stage import Stage, StageContext
from contracts.documents import REJECTED, document_uid, documents_schema
from corpus.documents import BATCH_ROWS


class GivenConfig(StageConfig):
    documents: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    ledger: dict[str, Any] | None
    parts: int


def _document(row: dict[str, Any]) -> dict[str, Any]:
    uid = row.get("uid") or document_uid(row["source"], row["id"])
    defaults = {"uid": uid, "split": "train", "url": None, "lang": "en", "lang_score": 0.9}
    return {**defaults, "quality": 0.5, "dup_count": 1, "cluster": uid, **row}


def _write(context: StageContext) -> dict[str, Any]:
    config: GivenConfig = context.config
    for part in range(config.parts):
        rows = [_document(row) for row in config.documents[part :: config.parts]]
        path = context.out.path(f"documents/part-{part:05d}.parquet")
        table = pa.Table.from_pylist(rows, schema=documents_schema(["quality"]))
        pq.write_table(table, path, row_group_size=BATCH_ROWS)
    path = context.out.path("rejected/part-00000.parquet")
    schema = REJECTED
    for name in ("cluster", "survivor"):
        if name not in schema.names and any(name in row for row in config.rejected):
            schema = schema.append(pa.field(name, pa.uint64()))
    pq.write_table(pa.Table.from_pylist(config.rejected, schema=schema), path)
    if config.ledger is not None:
        context.out.path("ledger.json").write_text(json.dumps(config.ledger))
    return {}


GIVEN = Stage(name="corpus.given", config=GivenConfig, output="corpus", run=_write, needs_ray=False)


@pytest.fixture
def make_corpus(tmp_path: Path) -> Callable[..., Artifact]:
    """``make_corpus(documents, rejected=[], ledger=None, parts=3)`` -> a corpus artifact.

    A document needs ``id``, ``source`` and ``text``; the other columns have defaults.
    """

    def make(
        documents: list[dict[str, Any]],
        rejected: list[dict[str, Any]] | None = None,
        ledger: dict[str, Any] | None = None,
        parts: int = 3,
    ) -> Artifact:
        config = GivenConfig(
            documents=documents, rejected=rejected or [], ledger=ledger, parts=parts
        )
        return run_stage(GIVEN, config, store=tmp_path / "store")

    return make
