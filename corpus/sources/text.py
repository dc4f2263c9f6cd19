"""Text, Markdown, reStructuredText and HTML files: one document each."""

from collections.abc import Iterator
from pathlib import Path

from corpus.extract.markup import readable
from corpus.sources.config import FilesSource
from corpus.sources.decode import Undecodable, decode
from corpus.sources.record import BadRecord, Record, ShardFile
from corpus.sources.storage import Opened

HTML_ENDINGS = (".html", ".htm", ".xhtml")
_MARKUP_ENDINGS = (".md", ".rst")


def read_text(source: FilesSource, file: ShardFile) -> Iterator[Record | BadRecord]:
    """The file as one record; HTML keeps its bytes for extraction.

    Raises:
        CorpusError: the file vanished, changed or could not be read.
    """
    with Opened(source, file) as stream:
        raw = stream.read(source.max_record_bytes + 1)
    html = source.format == "html" or file.name.lower().endswith(HTML_ENDINGS)
    if len(raw) > source.max_record_bytes:
        yield too_long(source.source, file.name, source.max_record_bytes)
    elif html:
        yield Record(id=file.name, key=file.name, source=source.source, html=raw)
    else:
        yield _decoded(source.source, file, file.name, raw, source.encoding)


def document(source: str, file: ShardFile, id_: str | None = None) -> Record | BadRecord:
    """One file of this machine as one record of ``source``; UTF-8 or a byte order mark."""
    id_ = id_ or file.name
    try:
        raw = Path(file.path).read_bytes()
    except OSError as error:
        return BadRecord(id=id_, key=id_, source=source, reason=f"unreadable: {error.strerror}")
    if file.name.lower().endswith(HTML_ENDINGS):
        return Record(id=id_, key=id_, source=source, html=raw, url=file.url)
    return _decoded(source, file, id_, raw, None)


def too_long(source: str, id_: str, limit: int) -> BadRecord:
    """A file, page or mail that is larger than a record may be."""
    reason = f"too_long: more than max_record_bytes ({limit})"
    return BadRecord(id=id_, key=id_, source=source, reason=reason)


def _decoded(
    source: str, file: ShardFile, id_: str, raw: bytes, encoding: str | None
) -> Record | BadRecord:
    try:
        text = decode(raw, encoding)
    except Undecodable as error:
        return BadRecord(id=id_, key=id_, source=source, reason=str(error))
    if file.name.lower().endswith(_MARKUP_ENDINGS):
        text = readable(text)
    return Record(id=id_, key=id_, source=source, text=text, url=file.url)
