"""What a source yields, and the shards it is cut into."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True)
class Record:
    """One document as it was read."""

    id: str
    """Shown to people: the record's key, or file and content where it has none."""
    key: str
    """Names the record within its source for ever: the uid is made of it."""
    source: str
    text: str = ""
    url: str | None = None
    html: bytes | None = None
    """The page, where the text must still be extracted from it."""
    judged: str | None = None
    """What the rules judge, where the reader added lines of its own to ``text``."""


@dataclass(frozen=True)
class BadRecord:
    """One record that could not be read."""

    id: str
    """File and place in it."""
    key: str
    source: str
    reason: str
    """A short code; ``reason: detail`` where there is more to say."""


class Shard(BaseModel):
    """One work unit of reading. Travels to workers as JSON."""

    model_config = ConfigDict(extra="forbid")

    name: str
    """Unique and stable, e.g. ``00007``: names the unit and its parts."""
    source_index: int
    """Which entry of ``sources`` it belongs to."""
    files: list["ShardFile"] = Field(default_factory=list)


class ShardFile(BaseModel):
    """One file of a shard."""

    model_config = ConfigDict(extra="forbid")

    path: str
    """Where it lies on this machine."""
    name: str
    """Relative name: part of ids, so it does not depend on where the folder lies."""
    package: str | None = None
    """Distribution it belongs to (python-docs)."""
    url: str | None = None
    """The project's URL (python-docs)."""
