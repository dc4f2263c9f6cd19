"""Config of the sources: what is read, and where it lies."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from clusters.config import StageConfig

PYTHON_DOCS = "python-docs"


class PythonDocsSource(StageConfig):
    """Documentation of the Python packages installed in the environment."""

    format: Literal["python-docs"] = "python-docs"
    packages: list[str] | None = None
    """Distributions to read; all that are installed by default."""
    exclude: tuple[str, ...] = ("inkstone",)
    """Distributions never read."""
    shard_bytes: int = Field(default=12 << 20, gt=0)
    """Source bytes that make one work unit."""


class FilesSource(StageConfig):
    """Files of one format."""

    path: str
    """A file, a folder (all files below it whose ending fits) or a glob pattern."""
    format: Literal["jsonl", "text", "parquet", "warc"]
    """``jsonl`` may be plain, ``.gz`` or ``.zst``; ``text`` is .txt, .md, .rst and HTML."""
    source: str
    """Name these documents carry as their source."""
    text_field: str = "text"
    """Field or column that holds the text (jsonl, parquet)."""
    id_field: str = "id"
    """Field or column that holds the record's key, where there is one (jsonl, parquet)."""
    url_field: str = "url"
    """Field or column that holds the record's URL, where there is one (jsonl, parquet)."""


def _expand(value: Any) -> Any:
    """``python-docs`` alone stands for that source with its defaults."""
    if value == PYTHON_DOCS:
        return {"format": PYTHON_DOCS}
    if isinstance(value, str):
        raise ValueError(f"a source is {PYTHON_DOCS!r} or a mapping with path, format and source")
    return value


SourceConfig = Annotated[
    Annotated[PythonDocsSource | FilesSource, Field(discriminator="format")],
    BeforeValidator(_expand),
]
