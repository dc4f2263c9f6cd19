"""What became of a document: kept with its scores, or rejected by a step, with the reason.

The narrow columns of all parts are scanned by Arrow's threads, row groups whose statistics
cannot match left out; only then the rows that matched are read whole.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from clusters.artifact import Artifact, ArtifactError
from corpus.ledger import LEDGER_NAME, read_ledger

if TYPE_CHECKING:
    import pyarrow.compute as pc

_SHOWN = (
    "uid", "id", "url", "source", "split", "lang", "title", "date", "licence", "cluster",
    "dup_count", "stage", "reason", "score", "survivor",
)  # fmt: skip
MAX_MEMBERS = 20
EXCERPT_CHARS = 300


class Member(BaseModel):
    """Another record of a document's duplicate cluster."""

    model_config = ConfigDict(extra="forbid")

    uid: int
    id: str
    kept: bool
    reason: str | None = None


class Fate(BaseModel):
    """One record that matched, and what became of it."""

    model_config = ConfigDict(extra="forbid")

    uid: int
    id: str
    url: str | None
    kept: bool
    source: str | None = None
    split: str | None = None
    lang: str | None = None
    title: str | None = None
    date: str | None = None
    licence: str | None = None
    passed: list[str] = []
    """Steps that let it through, in order."""
    cluster: int | None = None
    """Documents of equal number are near duplicates of each other."""
    dup_count: int | None = None
    """Documents that this one stands for, itself included."""
    members: list[Member] = []
    """Others of its cluster, as far as the artifact holds them: at most ``MAX_MEMBERS``."""
    survivor: int | None = None
    """Uid of the document that was kept in its place."""
    scores: dict[str, float | None] = {}
    """Every score column of the kept document, by name."""
    masked: dict[str, int] = {}
    """Personal data that was masked in the kept text: type -> how many."""
    stage: str | None = None
    """The step that rejected it."""
    reason: str | None = None
    score: float | None = None
    """The value on which it was rejected."""
    excerpt: str | None = None
    """The kept text's beginning."""
    file: str
    """Data file that holds the row, by logical name."""


def find(corpus: Artifact, key: str) -> list[Fate]:
    """Every kept or rejected record whose uid, id or URL is ``key``, kept ones first."""
    steps = _steps(corpus)
    fates = []
    for folder in ("documents/", "rejected/"):
        for path, row in _rows(corpus.files(folder), _is(key)):
            fate = _fate(corpus, path, row, kept=folder == "documents/", steps=steps)
            fates.append(fate)
    return [_with_cluster(corpus, fate) for fate in fates]


def _fate(
    corpus: Artifact, path: Path, row: dict[str, Any], *, kept: bool, steps: Sequence[str]
) -> Fate:
    import pyarrow as pa
    import pyarrow.parquet as pq

    shown = {name: row[name] for name in _SHOWN if name in row}
    file = path.relative_to(corpus.root).as_posix()
    if not kept:
        stage = row["stage"]
        before = list(steps[: steps.index(stage)]) if stage in steps else []
        return Fate(**shown, kept=False, passed=before, file=file)
    floats = [f.name for f in pq.read_schema(path) if pa.types.is_floating(f.type)]
    return Fate(
        **shown,
        kept=True,
        passed=list(steps),
        scores={name: row[name] for name in floats},
        masked=dict(row.get("pii") or {}),
        excerpt=row["text"][:EXCERPT_CHARS],
        file=file,
    )


def _with_cluster(corpus: Artifact, fate: Fate) -> Fate:
    """The same with the other records of its cluster, and the one that was kept."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cluster = fate.cluster
    if cluster is None and fate.survivor is not None:
        survivor = pc.field("uid") == pa.scalar(fate.survivor, pa.uint64())
        found = _rows(corpus.files("documents/"), survivor, ["cluster"])
        cluster = found[0][1]["cluster"] if found else None
    if cluster is None or (fate.kept and fate.dup_count == 1):
        return fate
    same = pc.field("cluster") == pa.scalar(cluster, pa.uint64())
    members = []
    survivor_uid = fate.survivor
    for folder in ("documents/", "rejected/"):
        kept = folder == "documents/"
        columns = ["uid", "id"] if kept else ["uid", "id", "reason"]
        for _, row in _rows(corpus.files(folder), same, columns):
            if kept and not fate.kept and survivor_uid is None:
                survivor_uid = row["uid"]
            if row["uid"] != fate.uid:
                members.append(Member(kept=kept, **row))
    update = {"members": members[:MAX_MEMBERS], "survivor": survivor_uid, "cluster": cluster}
    return fate.model_copy(update=update)


def _rows(
    files: Sequence[Path], matches: "pc.Expression", columns: Sequence[str] | None = None
) -> list[tuple[Path, dict[str, Any]]]:
    """Matching rows with the file each is in; all columns of them where none are named.

    Files without the columns that ``matches`` asks for have no such row.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    if not files:
        return []
    dataset = ds.dataset([str(path) for path in files], format="parquet")
    try:
        hits = dataset.scanner(columns=["__filename"], filter=matches).to_table()
    except (pa.ArrowInvalid, KeyError):  # a field that this table has not
        return []
    found = []
    for path in sorted({Path(name) for name in hits["__filename"].to_pylist()}):
        table = pq.read_table(path, columns=columns and list(columns), filters=matches)
        found += [(path, row) for row in table.to_pylist(maps_as_pydicts="strict")]
    return found


def _is(key: str) -> "pc.Expression":
    import pyarrow as pa
    import pyarrow.compute as pc

    matches = (pc.field("id") == key) | (pc.field("url") == key)
    if key.isdecimal() and int(key) < 1 << 64:
        matches |= pc.field("uid") == pa.scalar(int(key), pa.uint64())
    return matches


def _steps(corpus: Artifact) -> list[str]:
    """Steps of this corpus that some document passed, in order; empty without a ledger."""
    try:
        ledger = read_ledger(corpus.path(LEDGER_NAME))
    except (ArtifactError, ValueError):
        return []
    return [step.name for step in ledger.steps if step.entered.documents]
