"""The corpus part of a report: the ledger's funnel, reasons, and example ids."""

import json
from dataclasses import dataclass

import pandas as pd
import pyarrow.parquet as pq

from clusters.artifact import Artifact, ArtifactError

LEDGER = "ledger.json"


@dataclass(frozen=True)
class Step:
    """One step of the funnel."""

    name: str
    documents_in: int
    documents_out: int
    bytes_out: int


@dataclass(frozen=True)
class Reason:
    """Why documents were rejected."""

    step: str
    reason: str
    documents: int
    bytes: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """What was kept of one source."""

    name: str
    documents: int
    bytes: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class CorpusPart:
    """What the report says about a corpus."""

    steps: list[Step]
    reasons: list[Reason]
    """Largest first."""
    sources: list[Source]
    documents: int
    bytes: int
    splits: dict[str, int]
    """Documents per split."""
    bad_records: int
    heldout_auc: dict[str, float]
    """Of every classifier that was trained and measured."""


def read_corpus(corpus: Artifact, examples: int) -> CorpusPart:
    """Read a corpus artifact.

    Raises:
        ArtifactError: the ledger lacks a key this report shows.
    """
    path = corpus.path(LEDGER)
    try:
        ledger = json.loads(path.read_text(encoding="utf-8"))
        kept = ledger["kept"]
        return CorpusPart(
            steps=[_step(step) for step in ledger["steps"]],
            reasons=_reasons(ledger, _examples(corpus, "rejected/", ["stage", "reason"], examples)),
            sources=_sources(kept, _examples(corpus, "documents/", ["source"], examples)),
            documents=kept["total"]["documents"],
            bytes=kept["total"]["bytes"],
            splits={name: amount["documents"] for name, amount in kept["splits"].items()},
            bad_records=ledger["bad_records"],
            heldout_auc={
                found["name"]: found["heldout_auc"]
                for found in ledger["classifiers"]
                if found["heldout_auc"] is not None
            },
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: not a ledger this report can read: {error!r}") from error


def _step(step: dict) -> Step:
    return Step(
        name=step["name"],
        documents_in=step["entered"]["documents"],
        documents_out=step["passed"]["documents"],
        bytes_out=step["passed"]["bytes"],
    )


def _reasons(ledger: dict, examples: dict[tuple[str, ...], tuple[str, ...]]) -> list[Reason]:
    found = [
        Reason(
            step["name"],
            reason,
            amount["documents"],
            amount["bytes"],
            examples.get((step["name"], reason), ()),
        )
        for step in ledger["steps"]
        for reason, amount in step["rejected"].items()
    ]
    return sorted(found, key=lambda r: (-r.documents, r.step, r.reason))


def _sources(kept: dict, examples: dict[tuple[str, ...], tuple[str, ...]]) -> list[Source]:
    return [
        Source(name, amount["documents"], amount["bytes"], examples.get((name,), ()))
        for name, amount in kept["sources"].items()
    ]


def _examples(
    corpus: Artifact, prefix: str, keys: list[str], count: int
) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Ids of the ``count`` records of lowest uid per key: a draw that never changes."""
    columns = ["uid", "id", *keys]
    parts = [pq.read_table(path, columns=columns).to_pandas() for path in corpus.files(prefix)]
    if not parts:
        return {}
    rows = pd.concat(parts).sort_values("uid", kind="stable")
    groups = rows.groupby(keys, sort=True)["id"].apply(lambda ids: tuple(ids.head(count)))
    return {key if isinstance(key, tuple) else (key,): ids for key, ids in groups.items()}
