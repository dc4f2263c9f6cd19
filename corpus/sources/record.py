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
    charset: str | None = None
    """What the transport (HTTP, MIME) says of the encoding of ``html``."""
    title: str | None = None
    date: str | None = None
    """The document's own date as it was given; ISO 8601 where it was a date or a mail's."""
    licence: str | None = None


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

    @property
    def bytes(self) -> int:
        """Bytes this unit reads, as they are stored: what progress is measured in."""
        return sum(file.bytes for file in self.files)


class ShardFile(BaseModel):
    """One file of a shard, or a part of a large one."""

    model_config = ConfigDict(extra="forbid")

    path: str
    """Where it lies: a path on this machine, or ``s3://BUCKET/KEY``."""
    name: str
    """Relative name: part of ids, so it does not depend on where the folder lies."""
    package: str | None = None
    """Distribution it belongs to (python-docs)."""
    url: str | None = None
    """The project's URL (python-docs)."""
    bytes: int = 0
    """Bytes of it, or of its part, as stored."""
    version: str | None = None
    """What told this content from another when the stage began: etag, or size and time."""
    start: int = 0
    """First byte (JSON Lines) or row group (Parquet) of the part."""
    end: int | None = None
    """First byte or row group behind the part; none where it goes to the end."""
