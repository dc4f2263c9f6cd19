"""The pages of archived HTTP responses: which count, and what their headers say."""

import io
import zlib
from dataclasses import dataclass

HTML_TYPES = ("text/html", "application/xhtml+xml")
PLAIN_TYPE = "text/plain"
PAGE_TYPES = (*HTML_TYPES, PLAIN_TYPE)
_SNIFFED_BYTES = 1024
_MAX_HEADER_BYTES = 1 << 18
_GZIP_MAGIC = b"\x1f\x8b"


class DamagedRecord(Exception):
    """A record whose content cannot be trusted."""


class TooLarge(Exception):
    """A page larger than a record may be."""


def media_type(content_type: str | None) -> str:
    """``text/html`` of ``text/html; charset=x``; empty where there is none."""
    return (content_type or "").split(";")[0].strip().lower()


def charset_of(content_type: str | None) -> str | None:
    """The charset parameter of a Content-Type, where it has one."""
    for part in (content_type or "").split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'").lower() or None
    return None


def looks_like_html(body: bytes) -> bool:
    """For responses without a Content-Type: whether the first kilobyte opens a page."""
    head = body[:_SNIFFED_BYTES].lstrip().lower()
    return head.startswith((b"<!doctype html", b"<html", b"<head")) or b"<html" in head


@dataclass(frozen=True)
class Response:
    """A stored HTTP response."""

    status: int
    headers: dict[str, str]
    """Names in lower case; of a repeated one the last."""
    body: bytes


def parse_response(block: bytes) -> Response:
    """The response of an archive's block; header lines end in CRLF, or in LF as ClueWeb09's.

    Raises:
        DamagedRecord: it has no HTTP header.
    """
    opening = block[:_MAX_HEADER_BYTES]
    ends = [(opening.find(gap), len(gap)) for gap in (b"\r\n\r\n", b"\n\n")]
    end, width = min(((at, width) for at, width in ends if at >= 0), default=(-1, 0))
    first, *lines = opening[: max(end, 0)].decode("latin-1").splitlines() or [""]
    words = first.split()
    if len(words) < 2 or not words[0].startswith("HTTP/") or not _is_status(words[1]):
        raise DamagedRecord("no HTTP header in a response")
    pairs = [line.partition(":") for line in lines if ":" in line]
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Response(int(words[1]), headers, block[end + width :])


def _is_status(word: str) -> bool:
    return len(word) == 3 and word.isascii() and word.isdigit()


def decoded_body(response: Response, limit: int) -> bytes:
    """The body without its transfer and content encoding.

    Crawlers keep headers of encodings they have taken off already, so a body that plainly
    is not encoded stays as it is.

    Raises:
        DamagedRecord: chunks or compressed data are cut or broken.
        TooLarge: it has more than ``limit`` bytes.
    """
    body = response.body
    if "chunked" in response.headers.get("transfer-encoding", "").lower():
        body = _unchunked(body)
    encoding = response.headers.get("content-encoding", "").strip().lower()
    try:
        if encoding.endswith("gzip") and body.startswith(_GZIP_MAGIC):
            body = _inflated(body, limit, 31)
        elif encoding == "deflate" and body[:1] not in (b"", b"<"):
            body = _inflated(body, limit, 15 if body[0] & 15 == 8 else -15)
        elif encoding == "br" and not body.lstrip().startswith(b"<"):
            body = _brotli(body, limit)
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedRecord(f"content-encoding {encoding}: {error}") from error
    if len(body) > limit:
        raise TooLarge(f"more than max_record_bytes ({limit})")
    return body


def _inflated(body: bytes, limit: int, wbits: int) -> bytes:
    stream = zlib.decompressobj(wbits=wbits)
    made = stream.decompress(body, limit + 1)
    if not stream.eof and len(made) <= limit:
        raise EOFError("the data are cut short")
    return made


def _brotli(body: bytes, limit: int) -> bytes:
    from fastwarc.stream_io import BrotliReader

    return BrotliReader(io.BytesIO(body)).read(limit + 1)


def _unchunked(body: bytes) -> bytes:
    """RFC 9112, section 7.1. A body that is not chunked though its header says so stays."""
    parts: list[bytes] = []
    at = 0
    while True:
        end = body.find(b"\r\n", at)
        try:
            size = int(body[at:end].split(b";")[0], 16) if end >= 0 else -1
        except ValueError:
            size = -1
        if size < 0:
            if at == 0:
                return body
            raise DamagedRecord("a chunk is broken")
        if size == 0:
            return b"".join(parts)
        parts.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
