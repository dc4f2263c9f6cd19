"""Text, Markdown, reStructuredText and HTML files: one document each."""

from collections.abc import Iterator
from pathlib import Path

from corpus.extract.markup import readable
from corpus.sources.config import FilesSource
from corpus.sources.record import BadRecord, Record, ShardFile


def read_text(source: FilesSource, file: ShardFile) -> Iterator[Record | BadRecord]:
    """The file as one record; HTML keeps its bytes for extraction."""
    yield document(source.source, file)


def document(source: str, file: ShardFile, id_: str | None = None) -> Record | BadRecord:
    """One file as one record of ``source``; UTF-8 with or without a byte order mark."""
    id_ = id_ or file.name
    try:
        raw = Path(file.path).read_bytes()
        if file.name.lower().endswith((".html", ".htm")):
            return Record(id=id_, key=id_, source=source, html=raw, url=file.url)
        text = raw.decode("utf-8-sig")
        if file.name.lower().endswith((".md", ".rst")):
            text = readable(text)
    except OSError as error:
        reason = f"unreadable: {error.strerror}"
    except UnicodeDecodeError as error:
        reason = f"not_utf8: byte {error.start}"
    else:
        return Record(id=id_, key=id_, source=source, text=text, url=file.url)
    return BadRecord(id=id_, key=id_, source=source, reason=reason)
