"""Config of the sources: what is read, and where it lies."""

import codecs
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from clusters.config import StageConfig, execution
from corpus.sources.decode import DETECT

PYTHON_DOCS = "python-docs"
HUGGINGFACE = "huggingface"


class PythonDocsSource(StageConfig):
    """Documentation of the Python packages installed in the environment."""

    format: Literal["python-docs"] = "python-docs"
    packages: list[str] | None = None
    """Distributions to read; all that are installed by default."""
    exclude: tuple[str, ...] = ("inkstone",)
    """Distributions never read."""
    shard_bytes: int = Field(default=12 << 20, gt=0)
    """Source bytes that make one work unit."""


class RowsSource(StageConfig):
    """Which fields of a row (JSON object, table row) mean what."""

    source: str
    """Name these documents carry as their source."""
    text_field: str = "text"
    """Field or column that holds the text; with ``mail``, the raw mail of a JSON Lines file."""
    id_field: str = "id"
    """Field or column that holds the record's key, where there is one."""
    url_field: str = "url"
    """Field or column that holds the record's URL, where there is one."""
    title_field: str = "title"
    """Field or column that holds the document's title, where there is one."""
    date_field: str = "date"
    """Field or column that holds the document's date, where there is one."""
    licence_field: str = "license"
    """Field or column that holds the document's licence, where there is one."""
    max_record_bytes: int = Field(default=32 << 20, gt=0)
    """Longer lines, rows, pages, mails and text files are bad records; bounds the memory."""


class FilesSource(RowsSource):
    """Files of one format, on this machine or in an S3-like store."""

    path: str
    """A file, a folder (all files below it whose ending fits) or a glob pattern; on this
    machine, or ``s3://BUCKET/...``."""
    format: Literal["jsonl", "text", "html", "parquet", "arrow", "warc", "mail"]
    """``jsonl`` may be plain, ``.gz``, ``.zst``, ``.bz2`` or ``.xz``; ``text`` is .txt, .md,
    .rst and HTML; ``arrow`` is IPC files and streams, Feather too; ``warc`` is WARC, WET and
    ARC; ``mail`` is .eml, .mbox, Maildir, and JSON Lines whose text is a raw mail."""
    encoding: str | None = None
    """Codec of text files that are no UTF-8 and carry no byte order mark; ``detect`` tries to
    tell it from the bytes; by default such files are bad records."""
    shard_bytes: int = Field(default=256 << 20, gt=0)
    """Bytes at which one uncompressed JSON Lines or Parquet file is cut in several work units."""
    group_bytes: int = Field(default=8 << 20, gt=0)
    """Bytes of small files (text, html, mail: a document each) that make one work unit."""
    endpoint: str | None = execution(None)
    """URL of an S3-like server; by default AWS_ENDPOINT_URL, else the region's own."""
    region: str | None = execution(None)
    """Region of the bucket; by default AWS_REGION, AWS_DEFAULT_REGION or us-east-1."""
    anonymous: bool = execution(False)
    """Read a public bucket without credentials. Credentials come from the environment only."""

    @field_validator("encoding")
    @classmethod
    def _known_codec(cls, value: str | None) -> str | None:
        if value not in (None, DETECT):
            try:
                codecs.lookup(value)
            except LookupError:
                raise ValueError(
                    f"{value!r} is no codec of Python; use a name such as gbk, big5 or latin-1, "
                    f"or {DETECT}"
                ) from None
        return value


class HuggingFaceSource(RowsSource):
    """A Hugging Face dataset: a folder that ``save_to_disk`` wrote, or a dataset of the hub."""

    format: Literal["huggingface"]
    path: str
    """A folder written by ``save_to_disk`` (read without any further package), or an id."""
    subset: str | None = None
    """Name of the dataset's configuration, where it has several (hub only)."""
    split: str = "train"
    """Split that is read."""
    revision: str | None = None
    """Commit, tag or branch of the hub's repository."""


def _expand(value: Any) -> Any:
    """``python-docs`` alone stands for that source with its defaults."""
    if value == PYTHON_DOCS:
        return {"format": PYTHON_DOCS}
    if isinstance(value, str):
        raise ValueError(f"a source is {PYTHON_DOCS!r} or a mapping with path, format and source")
    return value


SourceConfig = Annotated[
    Annotated[PythonDocsSource | FilesSource | HuggingFaceSource, Field(discriminator="format")],
    BeforeValidator(_expand),
]
