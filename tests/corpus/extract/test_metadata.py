import pytest

from corpus.extract.metadata import date_of, language_of, licence_of, title_of
from corpus.extract.tree import parse


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("<title>a | b</title><h1>a</h1>", "a"),
        ("<title>t</title><h1>a</h1><h1>b</h1>", "t"),
        ('<meta property="og:title" content=" x  y "><h1>a</h1>', "x y"),
        ("<p>none</p>", None),
    ],
)
def test_title(page: str, title: str | None) -> None:
    assert title_of(parse(page)) == title


@pytest.mark.parametrize(
    ("page", "date"),
    [
        ('<meta name="date" content="2020-02-30T1"><time datetime="2020-02-28">', "2020-02-30"),
        (
            '<script type="application/ld+json">{"datePublished":"2019-01-02"}</script>',
            "2019-01-02",
        ),
        ('<time datetime="2018/12/31 10:00">', "2018-12-31"),
        ('<meta name="date" content="yesterday"><p>2017-01-01</p>', None),
    ],
)
def test_date(page: str, date: str | None) -> None:
    assert date_of(parse(page)) == date


@pytest.mark.parametrize(
    ("page", "language"),
    [
        ("<html lang='zh-Hans-CN'><p>x", "zh"),
        ("<html xml:lang=EN><p>x", "en"),
        ("<meta property='og:locale' content='pt_BR'><p>x", "pt"),
        ("<html lang='?'><p>x", None),
    ],
)
def test_language(page: str, language: str | None) -> None:
    assert language_of(parse(page)) == language


@pytest.mark.parametrize(
    ("page", "licence"),
    [
        ("<a href='http://creativecommons.org/publicdomain/zero/1.0/'>x</a>", "CC0-1.0"),
        (
            "<link rel=license href='https://www.gnu.org/licenses/fdl.html'>",
            "https://www.gnu.org/licenses/fdl.html",
        ),
        (
            "<a href='https://creativecommons.org/licenses/by-nc-nd/3.0/de/'>x</a>",
            "CC-BY-NC-ND-3.0",
        ),
        ("<meta name='dc.rights' content='All rights reserved'>", "All rights reserved"),
        ("<a href='https://creativecommons.org/'>x</a>", "https://creativecommons.org/"),
        ("<p>x", None),
    ],
)
def test_licence(page: str, licence: str | None) -> None:
    assert licence_of(parse(page)) == licence
