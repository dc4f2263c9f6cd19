"""From a row of named fields (a JSON object, a Parquet row) to a record."""

from datetime import date
from typing import Any

from corpus.sources.config import RowsSource
from corpus.sources.keys import ContentKeys
from corpus.sources.record import BadRecord, Record


def columns_of(source: RowsSource) -> set[str]:
    """Names of the fields that a record is made of."""
    return {
        source.text_field,
        source.id_field,
        source.url_field,
        source.title_field,
        source.date_field,
        source.licence_field,
    }


def record_of(source: RowsSource, values: Any, place: str, keys: ContentKeys) -> Record | BadRecord:
    """The row as a record, or why it is none. ``place`` is the file and line or row."""
    if not isinstance(values, dict):
        return bad_row(source, place, keys, values, "not_an_object")
    text = values.get(source.text_field)
    if not isinstance(text, str):
        what = "no_text" if text is None else "text_not_a_string"
        return bad_row(source, place, keys, values, f"{what}: field {source.text_field!r}")
    if len(text) > source.max_record_bytes:
        why = f"too_long: {len(text)} characters; max_record_bytes is {source.max_record_bytes}"
        return bad_row(source, place, keys, text, why)
    key = key_of(source, values) or keys.key(text)
    return Record(
        id=key,
        key=key,
        source=source.source,
        text=text,
        url=_string(values.get(source.url_field)),
        title=_string(values.get(source.title_field)),
        date=_date(values.get(source.date_field)),
        licence=_string(values.get(source.licence_field)),
    )


def key_of(source: RowsSource, values: dict[str, Any]) -> str | None:
    """The record's own key, where it has one."""
    id_ = values.get(source.id_field)
    keyed = isinstance(id_, str | int) and not isinstance(id_, bool) and id_ != ""
    return str(id_) if keyed else None


def bad_row(
    source: RowsSource, place: str, keys: ContentKeys, values: Any, reason: str
) -> BadRecord:
    """A row that is no record, named by its content."""
    return BadRecord(id=place, key=keys.key(repr(values)), source=source.source, reason=reason)


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _date(value: Any) -> str | None:
    if isinstance(value, date):  # datetime too
        return value.isoformat()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _string(value)
