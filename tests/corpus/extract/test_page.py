import random
import time

import pytest

from corpus.extract.config import ExtractConfig
from corpus.extract.page import Page, extract_page

SENTENCE = "The river rose for three days, and then the mill stood in water to its windows. "
CONFIG = ExtractConfig()
PAGE = """<html lang="de-AT"><head><title>Site | The flood</title>
<meta property="og:title" content="The flood"><meta property="article:published_time"
content="2021-03-04T10:00:00Z"></head><body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/news">News of the day</a></li></ul></nav>
<div class="page-wrapper sidebar"><article><h1>The flood</h1>{body}</article></div>
<div class="related-posts"><h3>More stories</h3><a href="/1">Another story of another day</a></div>
<footer><a rel="license" href="https://creativecommons.org/licenses/by-sa/4.0/">licence</a>
Copyright 2021</footer></body></html>"""
PROSE = "".join(f"<p>{SENTENCE * 3}</p>" for _ in range(5))


def extract(body: str, config: ExtractConfig = CONFIG) -> Page:
    return extract_page(PAGE.format(body=body).encode(), config)


def test_main_text_without_navigation_related_stories_and_footer() -> None:
    page = extract(PROSE)
    assert page.extractor == "fast"
    assert page.text.count("The river rose") == 15
    for clutter in ("Home", "More stories", "Another story", "Copyright"):
        assert clutter not in page.text


def test_metadata() -> None:
    page = extract(PROSE)
    assert (page.title, page.date, page.language) == ("The flood", "2021-03-04", "de")
    assert page.licence == "CC-BY-SA-4.0"
    bare = extract(PROSE, ExtractConfig(metadata=False))
    assert (bare.title, bare.date, bare.language, bare.licence) == (None,) * 4
    assert bare.text == page.text


def test_code_lists_tables_and_formulas_survive() -> None:
    page = extract(
        PROSE
        + "<pre><code>def f(x):\n    return x + 1\n</code></pre>"
        + f"<p>{SENTENCE}</p><ul><li>first {SENTENCE}</li><li>second {SENTENCE}</li></ul>"
        + "<table><tr><td>height of the water, in metres</td><td>4.25 above the usual mark</td>"
        + f"</tr></table><p>Area is <math><semantics><mi>x</mi><annotation "
        f'encoding="application/x-tex">\\pi r^2</annotation></semantics></math>. {SENTENCE}</p>'
        + f'<p>{SENTENCE} <img class="latex" alt="E=mc^2" src="x.png"> {SENTENCE}</p>{PROSE}'
    )
    assert "```\ndef f(x):\n    return x + 1\n```" in page.text
    assert "- first The river" in page.text
    assert "height of the water, in metres | 4.25 above the usual mark" in page.text
    assert "Area is $\\pi r^2$." in page.text
    assert "$E=mc^2$" in page.text


def test_clutter_names_do_not_hide_the_main_text() -> None:
    assert "The river" in extract(f'<form><div class="widget comments">{PROSE}</div></form>').text


def test_a_doubtful_page_is_read_by_the_careful_extractor() -> None:
    short = b"<html><body><div>Just a few words.</div></body></html>"
    assert extract_page(short, CONFIG).extractor == "careful"
    assert extract_page(short, ExtractConfig(careful=False)).extractor == "fast"
    assert extract_page(short, ExtractConfig(max_careful_bytes=10)).extractor == "fast"
    assert extract_page(short, ExtractConfig(max_careful_elements=1)).extractor == "fast"


def test_a_page_gives_the_same_text_whatever_was_read_before() -> None:
    page = PAGE.format(body=PROSE).encode()
    first = extract_page(page, CONFIG)
    for seed in range(5):
        extract_page(random.Random(seed).randbytes(2000), CONFIG)
    assert extract_page(page, CONFIG) == first


HOSTILE = {
    "empty": b"",
    "zeros": b"\0" * 1000,
    "half a byte order mark": b"\xff\xfe\x00",
    "brackets": b"<" * 5000,
    "deep blocks": b"<div>" * 50_000 + b"text",
    "deep inline": b"<p>" + b"<span>" * 50_000 + b"text",
    "nested tables": b"<table><tr><td>" * 10_000 + b"x",
    "unclosed": b"<b><p>" * 30_000 + b"hello",
    "long attribute": b'<div class="' + b"share " * 300_000 + b'">text</div>',
    "many attributes": b"<p " + b" ".join(b"a%d=1" % i for i in range(100_000)) + b">text",
    "no closing quote": b'<p class="' * 20_000,
    "long comment": b"<!--" + b"-" * 1_000_000,
    "nested scripts": b"<script>" + b"<script" * 100_000,
    "long formula": b'<img class=latex alt="' + b"x" * 500_000 + b'">',
    "one long line": b"<p>" + b"word " * 200_000,
    "frames": b"<frameset><frame src=x></frameset>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pages_neither_raise_nor_hang(name: str) -> None:
    started = time.process_time()
    page = extract_page(HOSTILE[name], CONFIG)
    page.text.encode()
    assert time.process_time() - started < 10


def test_random_bytes_and_cut_pages() -> None:
    draw = random.Random()
    page = PAGE.format(body=PROSE).encode()
    for _ in range(30):
        extract_page(draw.randbytes(draw.randint(0, 3000)), CONFIG)
        broken = bytearray(page[: draw.randint(0, len(page))])
        for _ in range(20):
            if broken:
                broken[draw.randrange(len(broken))] = draw.randrange(256)
        extract_page(bytes(broken), CONFIG).text.encode()
