import random

import pytest

from corpus.sources.decode import Undecodable, decode

SENTENCE = "Le café est très bon et l'été arrive à Paris; naïve façade, où ça? "


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_or_utf8_is_read(codec: str) -> None:
    text = "".join(random.choices("abc é 中文 🙂\n", k=200)) or "x"
    assert decode(text.encode(codec)) == text


def test_other_encodings_are_refused_with_a_hint_until_they_are_named() -> None:
    raw = (SENTENCE * 4).encode("latin-1")
    with pytest.raises(Undecodable, match=r"^not_utf8: byte 6; it looks like cp1252: name it"):
        decode(raw)
    assert decode(raw, "latin-1") == SENTENCE * 4
    assert decode(raw, "detect") == SENTENCE * 4


def test_a_codec_that_does_not_fit_or_does_not_exist_is_named() -> None:
    with pytest.raises(Undecodable, match=r"^not_ascii: "):
        decode(b"caf\xe9", "ascii")
    with pytest.raises(Undecodable, match=r"^not_ascii: "):  # an alias is no reason of its own
        decode(b"caf\xe9", "US_ascii")
    for name in ("klingon", "undefined", "a\0b", "hex", "x" * 10_000):
        with pytest.raises(Undecodable, match=r"^bad_charset: '") as raised:
            decode(b"caf\xe9", name)
        assert len(str(raised.value)) < 10_300


def test_a_cut_utf16_file_and_binary_data_are_refused() -> None:
    with pytest.raises(Undecodable, match=r"^not_utf-16"):
        decode("abc".encode("utf-16")[:-1])
    with pytest.raises(Undecodable, match=r"^binary: "):
        decode("plain text as UTF-16 without a mark".encode("utf-16-le"))
    assert decode(b"a NUL here\x00 and text after it, so it stays text") == (
        "a NUL here\x00 and text after it, so it stays text"
    )
