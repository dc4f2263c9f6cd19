"""From bytes to text: byte order mark, UTF-8, or the codec that was named; no silent guess."""

import codecs

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark begins alike
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
DETECT = "detect"
_MAX_NUL_SHARE = 0.05
"""Text that was cut out of binary files has a NUL here and there; binary files have many."""


class Undecodable(Exception):
    """The bytes are no text in any encoding that is allowed; the message is the reason."""


def decode(raw: bytes, encoding: str | None = None) -> str:
    """The text of ``raw``: by its byte order mark, else UTF-8, else ``encoding``.

    ``encoding`` is a codec's name, or ``detect`` for resiliparse's detector (uchardet).

    Raises:
        Undecodable: ``not_utf8``, ``not_CODEC``, ``bad_charset`` or ``binary``, with place and
            remedy.
    """
    codec = next((name for mark, name in _MARKS if raw.startswith(mark)), None)
    if codec is None and raw.count(0) > _MAX_NUL_SHARE * len(raw):
        raise Undecodable(f"binary: {raw.count(0)} of {len(raw)} bytes are NUL")
    try:
        return raw.decode(codec or "utf-8")
    except UnicodeDecodeError as error:
        if codec is not None or encoding is None:
            raise Undecodable(_reason(raw, codec or "utf-8", error)) from error
    codec = detect(raw) if encoding == DETECT else encoding
    try:
        return raw.decode(codec)
    except UnicodeDecodeError as error:  # the codec's own name: aliases would be many reasons
        raise Undecodable(f"not_{codecs.lookup(codec).name}: {error}") from error
    except (ValueError, LookupError) as error:  # unknown, no text codec, NUL in the name
        raise Undecodable(f"bad_charset: {codec[:80]!r}: {error}") from error


def detect(raw: bytes) -> str:
    """The encoding that resiliparse's detector takes ``raw`` for."""
    from resiliparse.parse.encoding import detect_encoding

    return detect_encoding(raw) or "utf-8"


def _reason(raw: bytes, codec: str, error: UnicodeDecodeError) -> str:
    code = "not_utf8" if codec.startswith("utf-8") else f"not_{codec}"
    hint = detect(raw)
    return f"{code}: byte {error.start}; it looks like {hint}: name it as encoding to read it"
