"""Mail: .eml files, mbox files, Maildir folders, and raw mail in JSON Lines.

The text part is preferred; where there is only HTML it goes on to extraction. Attachments
are ignored. The subject becomes the title, the Date header the date.
"""

import email
import email.policy
import re
from collections.abc import Iterator
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any

from corpus.sources.config import FilesSource
from corpus.sources.decode import Undecodable, decode
from corpus.sources.decompress import STREAM_ERRORS, pieces
from corpus.sources.fields import bad_row, key_of
from corpus.sources.jsonl import read_rows
from corpus.sources.keys import ContentKeys
from corpus.sources.lines import TooLong, lines
from corpus.sources.record import BadRecord, Record, ShardFile
from corpus.sources.storage import Opened
from corpus.sources.text import too_long

JSONL_ENDINGS = tuple(f".jsonl{packed}" for packed in ("", ".gz", ".zst", ".bz2", ".xz"))
MBOX_ENDINGS = (".mbox", ".mbox.gz", ".mbox.zst", ".mbox.bz2", ".mbox.xz", ".mbx")
MAILDIR = re.compile(r"(^|/)(cur|new)/[^/]+$")
_FLAGS = re.compile(r":2,[A-Za-z]*$")
_WORD = re.compile(r"=\?[^?]+\?[bqBQ]\?")


def read_mail(source: FilesSource, file: ShardFile) -> Iterator[Record | BadRecord]:
    """Every mail of a file.

    Raises:
        CorpusError: the file vanished, changed or could not be read.
    """
    if file.name.endswith(JSONL_ENDINGS):
        keys = ContentKeys()
        yield from read_rows(source, file, keys, lambda row, at: _row(source, row, at, keys))
    elif file.name.endswith(MBOX_ENDINGS):
        yield from _mbox(source, file)
    else:
        with Opened(source, file) as stream:
            raw = stream.read(source.max_record_bytes + 1)
        key = _FLAGS.sub("", file.name)  # a Maildir's flags change, its name does not
        if len(raw) > source.max_record_bytes:
            yield too_long(source.source, key, source.max_record_bytes)
        else:
            yield mail_record(source, raw, key)


def _row(source: FilesSource, values: Any, place: str, keys: ContentKeys) -> Record | BadRecord:
    raw = values.get(source.text_field) if isinstance(values, dict) else None
    if not isinstance(raw, str):
        return bad_row(source, place, keys, values, f"no_text: field {source.text_field!r}")
    key = key_of(source, values) or keys.key(raw)
    return mail_record(source, _bytes(raw), key)


def _bytes(raw: str) -> bytes:
    """Escaped bytes as they were (PEP 383); other lone surrogates are no character: ``?``."""
    try:
        return raw.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return raw.encode("utf-8", "replace")


def _mbox(source: FilesSource, file: ShardFile) -> Iterator[Record | BadRecord]:
    """Mails of an mbox file: a line ``From ...`` after an empty line begins the next."""
    keys = ContentKeys()
    number = 0
    try:
        with Opened(source, file) as stream:
            for number, raw in enumerate(_split(source, file, stream), 1):
                if raw is None:
                    place = f"{file.name}:{number}"
                    yield too_long(source.source, place, source.max_record_bytes)
                else:
                    yield mail_record(source, raw, _mail_key(raw, keys))
    except STREAM_ERRORS as error:
        reason = f"broken_stream: {error}"
        broken = f"{file.name}:broken"
        yield BadRecord(f"{file.name}:{number + 1}", broken, source.source, reason)


def _split(source: FilesSource, file: ShardFile, stream: Any) -> Iterator[bytes | None]:
    """Raw mails; None for one that is longer than a record may be."""
    mail: list[bytes] | None = None
    size = 0
    blank = True
    for line in lines(pieces(stream, file.name), source.max_record_bytes):
        if isinstance(line, TooLong):
            mail, size, blank = mail or [], source.max_record_bytes + 1, False
            continue
        if blank and line.startswith(b"From "):
            if mail is not None:
                yield b"\n".join(mail) if size <= source.max_record_bytes else None
            mail, size, blank = [], 0, False
            continue
        blank = not line.strip()
        size += len(line) + 1
        if mail is None:
            mail = []
        if size <= source.max_record_bytes:
            mail.append(line[1:] if re.match(rb">+From ", line) else line)
    if mail is not None and (mail or size):
        yield b"\n".join(mail) if size <= source.max_record_bytes else None


def _mail_key(raw: bytes, keys: ContentKeys) -> str:
    """By content: a Message-ID is not unique, one list's mail may reach a mailbox twice."""
    return keys.key(raw)


def mail_record(source: FilesSource, raw: bytes, key: str) -> Record | BadRecord:
    """One raw mail as a record: its text part, else its HTML part."""
    try:
        message = email.message_from_bytes(raw, policy=email.policy.compat32)
        part, html = _body(message)
        title = header(message, "Subject")
        payload = part.get_payload(decode=True) if part is not None else None
        if not isinstance(payload, bytes) or part is None:
            return BadRecord(key, key, source.source, "no_text_part: neither text nor HTML in it")
        charset = part.get_content_charset()
        date = _date(message)
        if html:
            return Record(
                key, key, source.source, html=payload, charset=charset, title=title, date=date
            )
        text = _text(payload, charset, source.encoding)
    except Undecodable as error:
        return BadRecord(key, key, source.source, str(error))
    except Exception as error:  # the parser raises what hostile headers make it raise
        return BadRecord(key, key, source.source, f"bad_mail: {type(error).__name__}: {error}")
    return Record(key, key, source.source, text=text, title=title, date=date)


def _body(message: Any) -> tuple[Any, bool]:
    """The first text part, else the first HTML part, of what is no attachment."""
    html = None
    for part in message.walk():
        if part.is_multipart() or part.get_content_disposition() == "attachment":
            continue
        if part.get_content_type() == "text/plain":
            return part, False
        if part.get_content_type() == "text/html" and html is None:
            html = part
    return html, html is not None


def _text(payload: bytes, charset: str | None, encoding: str | None) -> str:
    """Decoded by the charset the mail names, where it is known and right."""
    if charset not in (None, "us-ascii", "utf-8"):
        try:
            return payload.decode(str(charset))
        except (LookupError, ValueError):
            pass  # mails name charsets that do not exist, or not theirs
    return decode(payload, encoding)


def header(message: EmailMessage | Any, name: str) -> str | None:
    """A header as one line of text, encoded words (RFC 2047) decoded."""
    value = message.get(name)
    if value is None:
        return None
    text = str(value)
    if _WORD.search(text):
        made = email.header.make_header(email.header.decode_header(text))
        text = str(made)
    return " ".join(text.split()) or None


def _date(message: Any) -> str | None:
    try:
        return parsedate_to_datetime(str(message.get("Date"))).isoformat()
    except (ValueError, TypeError, OverflowError):
        return None
