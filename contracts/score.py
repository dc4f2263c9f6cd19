"""The score: one row per evaluated sample, enough to re-score without inference."""

from pydantic import BaseModel, ConfigDict


class Score(BaseModel):
    """One sample of one benchmark, answered by one model."""

    model_config = ConfigDict(extra="forbid")

    benchmark: str
    version: int
    sample_id: str
    model: str
    """Fingerprint of the model artifact, or the name of a control engine."""
    prompt_hash: str
    output: str
    extracted: str | None = None
    """The answer found in the output; None where extraction failed."""
    correct: float
    """1 or 0 for graded samples; the measured value for losses (nats per token)."""
    error: str | None = None
    truncated: bool = False
    latency_ms: float | None = None
    """Wall time; kept in the database, not in the artifact (it never repeats)."""
    prompt_tokens: int = 0
    output_tokens: int = 0
    uid: int | None = None
    """Uid of the document the sample was made from, if any."""
