"""What is asked: the typed samples of each method, and where they are drawn from."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from blake3 import blake3
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from contracts.question import Question

ALL = "all"
"""The group of figures over a whole benchmark."""


class Sample(BaseModel):
    """One thing to ask a model; a row of ``samples.jsonl``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    """Unique inside its benchmark, the same in every run over the same data."""
    uid: int | None = None
    """Uid of the document it was made from."""

    @property
    def group(self) -> str:
        """The part of its benchmark that has figures of its own; ``all`` where none has."""
        return ALL


class WindowSample(Sample):
    """A piece of one held-out document."""

    domain: str
    start: int
    """Offset inside the document, in tokens."""
    tokens: tuple[int, ...] = Field(default=(), exclude=True, repr=False)
    """Not written out: the token store has them."""
    num_bytes: int | None = None
    """UTF-8 bytes of the scored tokens (all but the first), where the vocabulary tells."""

    @property
    def group(self) -> str:
        """Its domain."""
        return self.domain


class ChoiceSample(Sample):
    """A question and its options in the order shown."""

    question_id: str
    question: str
    options: tuple[str, ...]
    gold: int
    """Index of the right option."""


class ProblemSample(Sample):
    """A problem of an environment, by its parts."""

    question: str
    a: int
    b: int
    answer: int


class AskedSample(BaseModel):
    """A row of ``samples.jsonl``."""

    benchmark: str
    prompt: str
    """What the model was shown, special tokens included; empty for plain text."""
    sample: SerializeAsAny[Sample]


@dataclass(frozen=True)
class Sources:
    """What samples are drawn from: validation documents and what was made of them."""

    validation: Path
    """Token store of the validation split."""
    questions: list[Question] = field(default_factory=list)
    token_bytes: np.ndarray | None = None
    """Bytes of each token, shape (vocabulary,)."""


def draw_key(*parts: object) -> bytes:
    """Pseudo-random sort key: samples with the lowest keys are drawn.

    It depends on the sample alone, so a draw never depends on order or on what else
    there is.
    """
    return blake3("/".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest(16)
