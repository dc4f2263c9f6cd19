"""Formulas as LaTeX text between dollar signs, before anything else reads the tree.

MathML is replaced by its TeX annotation or ``alttext``; ``script type="math/tex"`` (MathJax) by
its contents; an image whose class or source says that it is a formula by its alternative text.
"""

import re
from typing import Any

_IMAGE = re.compile(r"\b(?:tex|latex|math|mwe-math\S*|formula|equation)\b", re.IGNORECASE)
_SOURCE = re.compile(r"latex\.php|codecogs|/math/render|mathtex|mimetex", re.IGNORECASE)
_STYLE = re.compile(r"^\{\\displaystyle\s*(.*)\}$", re.DOTALL)


def hold_formulas(root: Any) -> None:
    """Put the LaTeX of the page's formulas in their place in the tree."""
    found = False
    for element in list(root.iter("math", "script", "img")):
        found |= _hold(element) and element.tag == "math"
    if found:  # KaTeX writes MathML and, beside it, the same formula as boxes: the boxes go
        for element in list(root.iter("span")):
            if "katex-html" in (element.get("class") or ""):
                element.drop_tree()


def _hold(element: Any) -> bool:
    tex = _tex(element) if element.getparent() is not None else ""
    if tex:
        _replace(element, tex)
    return bool(tex)


def _tex(element: Any) -> str:
    if element.tag == "math":
        return _of_mathml(element)
    if element.tag == "script":
        if not (element.get("type") or "").startswith("math/tex"):
            return ""
        display = "mode=display" in element.get("type")
        return _dollars(element.text or "", display)
    return _of_image(element)


def _of_mathml(element: Any) -> str:
    display = element.get("display") == "block"
    for note in element.iter("annotation"):
        if "tex" in (note.get("encoding") or "").lower() and note.text:
            return _dollars(note.text, display)
    if element.get("alttext"):
        return _dollars(element.get("alttext"), display)
    return " ".join("".join(element.itertext()).split())


def _of_image(element: Any) -> str:
    alt = (element.get("alt") or "").strip()
    is_formula = _IMAGE.search(element.get("class") or "") or _SOURCE.search(
        (element.get("src") or "")[:1000]
    )
    if not (alt and is_formula) or _beside_math(element):
        return " " if alt and is_formula else ""
    return _dollars(alt, False)


def _beside_math(element: Any) -> bool:
    """Wikipedia shows the same formula as (hidden) MathML and as an image."""
    parent = element.getparent()
    return parent is not None and any("tex-held" in (c.get("class") or "") for c in parent.iter())


def _dollars(tex: str, display: bool) -> str:
    tex = " ".join(tex.split()).strip("$ ")
    found = _STYLE.match(tex)
    tex = found.group(1).strip() if found else tex
    if not tex:
        return ""
    return f"$${tex}$$" if display else f"${tex}$"


def _replace(element: Any, tex: str) -> None:
    tail = element.tail
    parent = element.getparent()
    span = element.makeelement("span", {"class": "tex-held"})
    span.text, span.tail = tex, tail
    parent.replace(element, span)
    while parent is not None and "mwe-math" in (parent.get("class") or ""):
        parent.attrib.pop("style", None)  # the hidden twin of an image is the one that is kept
        parent = parent.getparent()
