"""From a row of named fields (a JSON object, a Parquet row) to a record."""

from typing import Any

from corpus.sources.config import FilesSource
from corpus.sources.keys import ContentKeys
from corpus.sources.record import BadRecord, Record


def record_of(
    source: FilesSource, values: Any, place: str, keys: ContentKeys
) -> Record | BadRecord:
    """The row as a record, or why it is none. ``place`` is the file and line or row."""
    if not isinstance(values, dict):
        return _bad(source, place, keys, values, "not_an_object")
    text = values.get(source.text_field)
    if not isinstance(text, str):
        what = "no_text" if text is None else "text_not_a_string"
        return _bad(source, place, keys, values, f"{what}: field {source.text_field!r}")
    id_ = values.get(source.id_field)
    url = values.get(source.url_field)
    keyed = isinstance(id_, str | int) and not isinstance(id_, bool) and id_ != ""
    key = str(id_) if keyed else keys.key(text)
    return Record(
        id=key, key=key, source=source.source, text=text, url=url if isinstance(url, str) else None
    )


def _bad(source: FilesSource, place: str, keys: ContentKeys, values: Any, reason: str) -> BadRecord:
    return BadRecord(id=place, key=keys.key(repr(values)), source=source.source, reason=reason)
