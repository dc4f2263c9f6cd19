"""The trajectory: what an agent did, a row per turn, enough to replay it and train on it."""

from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from contracts.manifest import canonical_json, hash_bytes

TRAJECTORY = pa.schema(
    [
        pa.field("episode_id", pa.string(), nullable=False),
        pa.field("attempt", pa.string(), nullable=False),
        pa.field("group_id", pa.string(), nullable=False),
        pa.field("policy_version", pa.int64(), nullable=False),
        pa.field("turn", pa.int32(), nullable=False),
        pa.field("messages", pa.string(), nullable=False),
        pa.field("reply", pa.string()),
        pa.field("prompt_ids", pa.list_(pa.int32())),
        pa.field("output_ids", pa.list_(pa.int32())),
        pa.field("logprobs", pa.list_(pa.float32())),
        pa.field("loss_mask", pa.list_(pa.bool_())),
        pa.field("tool_name", pa.string()),
        pa.field("args_json", pa.string()),
        pa.field("result_json", pa.string()),
        pa.field("tool_ms", pa.float32()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reward", pa.float32()),
        pa.field("seed", pa.int64(), nullable=False),
    ]
)


class Turn(BaseModel):
    """One row of a trajectory."""

    model_config = ConfigDict(extra="forbid")

    episode_id: str
    attempt: str
    """Which try of the episode committed; the first committed one wins."""
    group_id: str
    """Episodes of one task share it (advantages are taken inside a group)."""
    policy_version: int = 0
    turn: int
    messages: str
    """JSON list of the OpenAI messages the model saw."""
    reply: str | None = None
    """JSON of the OpenAI message it answered; None where it gave none of its own."""
    prompt_ids: list[int] = Field(default_factory=list)
    output_ids: list[int] = Field(default_factory=list)
    logprobs: list[float] = Field(default_factory=list)
    loss_mask: list[bool] = Field(default_factory=list)
    """Per output token: true where the policy chose it."""
    tool_name: str | None = None
    args_json: str | None = None
    result_json: str | None = None
    tool_ms: float | None = None
    status: str
    """``tool_call``, ``tool_error``, ``final``, ``truncated`` or ``error``."""
    reward: float | None = None
    """Set on the last turn of an episode."""
    seed: int


def episode_id(run: str, policy_version: int, task: str, sample: int) -> str:
    """Stable id of an episode: the same ask always names the same episode."""
    return hash_bytes(canonical_json([run, policy_version, task, sample]))[:32]


def to_table(turns: list[Turn]) -> pa.Table:
    """Turns as an Arrow table of schema ``TRAJECTORY``."""
    rows: list[dict[str, Any]] = [turn.model_dump() for turn in turns]
    return pa.Table.from_pylist(rows, schema=TRAJECTORY)
