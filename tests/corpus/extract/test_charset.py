import pytest

from corpus.extract.charset import decode

TEXT = "Grüße aus Köln, ça va"


@pytest.mark.parametrize(
    ("page", "header", "expected"),
    [
        (b"\xef\xbb\xbf" + TEXT.encode(), "latin-1", TEXT),
        (b"\xff\xfe" + TEXT.encode("utf-16-le"), None, TEXT),
        (TEXT.encode(), "iso-8859-1", TEXT),  # valid UTF-8 is UTF-8
        (TEXT.encode("latin-1"), "iso-8859-1", TEXT),
        (b'<meta charset="iso-8859-1">' + TEXT.encode("latin-1"), None, None),
        (b"<meta charset='windows-1251'>" + "Привет".encode("cp1251"), None, "Привет"),
        (b'<?xml version="1.0" encoding="koi8-r"?>' + "мир".encode("koi8-r"), None, "мир"),
        ("你好，世界，这是一个网页".encode("gb18030"), "gb2312", "你好"),
        ("日本語の文章です。これは長い文です。".encode("shift_jis") * 9, None, "日本語"),
        (TEXT.encode("latin-1"), "no-such-charset", None),
    ],
)
def test_charsets(page: bytes, header: str | None, expected: str | None) -> None:
    text = decode(page, header)
    assert (expected or "Grüße") in text
    assert "\ufffd" not in text


def test_the_header_counts_more_than_the_meta_tag() -> None:
    page = b"<meta charset=koi8-r>" + "Привет, мир".encode("cp1251")
    assert "Привет" in decode(page, "windows-1251")


def test_a_wrong_header_gives_way() -> None:
    page = b"<meta charset=windows-1251>" + "Привет, мир. ".encode("cp1251") * 9
    assert "Привет" in decode(page, "utf-8")
