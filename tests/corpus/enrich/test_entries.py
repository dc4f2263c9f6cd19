"""Entries and summaries out of documentation text."""

import pytest

from corpus.enrich.entries import entries, summary

TEXT = """# pkg.mod

## Usage (advanced)

Prose, not an entry.

## pkg.mod.first(a, b=(1, 2))

Compute the :func:`~pkg.mod.other` of ``a``, e.g. The mean. More about it.

    ## pkg.mod.indented(x)

## pkg.mod.second()

## pkg.mod.Third(*args: int, **kwargs)

Third thing
"""


def test_headings_with_a_sentence_below_become_entries() -> None:
    found = list(entries(7, TEXT))
    assert [(e.uid, e.name, e.signature) for e in found] == [
        (7, "pkg.mod.first", "a, b=(1, 2)"),
        (7, "pkg.mod.Third", "*args: int, **kwargs"),
    ]
    assert found[0].summary == "Compute the pkg.mod.other of a, e.g. The mean."
    assert found[1].summary == "Third thing."


@pytest.mark.parametrize("text", ["", "no heading at all", "## nodot(x)\n\nText.\n"])
def test_text_without_entries(text: str) -> None:
    assert list(entries(1, text)) == []


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Return the mean.\n\nMore.", "Return the mean."),
        ("Return the\nmean of it", "Return the mean of it."),
        ("Print it. @param x: a file", "Print it."),
        ("Is it done? Yes.", "Is it done?"),
        ("Version 1.5 of it. Next.", "Version 1.5 of it."),
        ("Parse :class:`the text <a.b>` now.", "Parse the text now."),
        ("Use `code`_ and **bold** and *light*.", "Use code and bold and light."),
        ("Takes *args and **kwargs.", "Takes *args and **kwargs."),
        ("The values are:\n\n- a", "The values are."),
        ("Title\n-----\nText.", "Title."),
        ("array(object, dtype=None)\n\nCreate an array.", ""),
        ("Args:\n    x: y", ""),
        ("Parameters\n----------\nx : int", ""),
        (">>> f(1)", ""),
        (".. deprecated:: 1.0", ""),
        ("-----", ""),
        ("42 is the answer.", ""),
        ("", ""),
    ],
)
def test_summaries(docstring: str, expected: str) -> None:
    assert summary(docstring) == expected
