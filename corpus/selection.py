"""The ``selection`` artifact: which documents of a corpus are trained on, by domain.

``selection/part-*.parquet`` has the name and the row order of the documents' part that it
selects from; ``selection.json`` is a :class:`Summary`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from clusters.artifact import Artifact, ArtifactError
from corpus.ledger import Amount, StepCount

if TYPE_CHECKING:
    import pyarrow as pa

SUMMARY_NAME = "selection.json"
FOLDER = "selection"


class DomainShare(BaseModel):
    """One part of the mixture."""

    model_config = ConfigDict(extra="forbid")

    train: Amount
    validation: Amount
    weight: int
    """Of the sum of all domains' weights."""
    repeats: float
    """How often its train text is seen in ``train_bytes`` by these weights."""


class Summary(BaseModel):
    """Contents of ``selection.json``."""

    model_config = ConfigDict(extra="forbid")

    version: int = 1
    weights: dict[str, int]
    """Domain -> weight, each at least 1; a domain without train text has none."""
    domains: dict[str, DomainShare]
    steps: list[StepCount] = []
    """What every threshold dropped, in the order asked, by language and source."""
    notes: list[str] = []
    """What the weights could not hold to."""


def schema() -> "pa.Schema":
    """Schema of ``selection/part-*.parquet``."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("uid", pa.uint64(), nullable=False),
            pa.field("domain", pa.string(), nullable=False),
            pa.field("score", pa.float32()),
        ]
    )


@dataclass(frozen=True)
class Selection:
    """A selection, open for reading."""

    artifact: Artifact
    summary: Summary

    @classmethod
    def open(cls, artifact: Artifact) -> "Selection":
        """Read the summary.

        Raises:
            ArtifactError: it is no selection.
        """
        path = artifact.path(SUMMARY_NAME)
        try:
            summary = Summary.model_validate_json(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ArtifactError(f"{path}: not a selection's summary: {error}") from error
        return cls(artifact, summary)

    @property
    def weights(self) -> dict[str, int]:
        """Weight of every domain that has train text."""
        return self.summary.weights

    def domains(self) -> list[str]:
        """Names of all domains that have documents or a weight, sorted.

        Read from the parts, a column of one at a time: what is held out has no weight.
        """
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        found = set(self.weights)
        for path in self.artifact.files(f"{FOLDER}/"):
            found.update(pc.unique(pq.read_table(path, columns=["domain"])["domain"]).to_pylist())
        return sorted(found)

    def part(self, name: str) -> dict[int, str]:
        """Uid -> domain of the selected documents of ``documents/NAME``, in row order."""
        import pyarrow.parquet as pq

        table = pq.read_table(self.artifact.path(f"{FOLDER}/{name}"), columns=["uid", "domain"])
        return dict(zip(table["uid"].to_pylist(), table["domain"].to_pylist(), strict=True))

    def check_of(self, corpus: Artifact) -> None:
        """Raise ArtifactError where this selects from another corpus."""
        digests = [parent.digest for parent in self.artifact.manifest.parents]
        if corpus.manifest.digest not in digests:
            raise ArtifactError(
                f"{self.artifact.directory}: selects from another corpus than "
                f"{corpus.directory}; select from this one, or name the other"
            )


def part_name(documents: Path) -> str:
    """Logical name of the selection's part for a documents' part."""
    return f"{FOLDER}/{documents.name}"
