"""A page's main text and metadata: the fast extractor first, the careful one in doubt."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from corpus.extract.blocks import Walk
from corpus.extract.careful import careful_text, prune
from corpus.extract.charset import decode
from corpus.extract.config import ExtractConfig
from corpus.extract.features import features
from corpus.extract.formulas import hold_formulas
from corpus.extract.metadata import date_of, language_of, licence_of, title_of
from corpus.extract.model import probabilities
from corpus.extract.render import render
from corpus.extract.tree import parse

FAST, CAREFUL, NONE = "fast", "careful", "none"


@dataclass(frozen=True)
class Page:
    """What a page says."""

    text: str
    """Main text, one block per line; empty where there is none."""
    title: str | None = None
    date: str | None = None
    """Day of publication, ``YYYY-MM-DD``."""
    language: str | None = None
    """The language the page declares (ISO 639), which need not be the one it is written in."""
    licence: str | None = None
    """The licence it points to: an SPDX name for Creative Commons, else a URL or a phrase."""
    extractor: str = NONE
    """``fast``, ``careful`` or ``none`` (no element in it)."""


def extract_page(
    html: bytes, config: ExtractConfig, url: str | None = None, charset: str | None = None
) -> Page:
    """Main text and metadata of a web page. Never raises for what stands in the page.

    Args:
        html: the page's bytes.
        config: limits and thresholds.
        url: where the page was; nothing depends on it yet.
        charset: of the HTTP header, where there was one.
    """
    page = decode(html[: config.max_page_bytes], charset)
    root = parse(page)
    if root is None:
        return Page(text="")
    about = _metadata(root) if config.metadata else {}
    hold_formulas(root)
    walk = Walk(root)
    p = probabilities(features(walk))
    text, doubt = fast_text(walk, p, config)
    if _goes_on(html, root, text, doubt, config):
        prune(walk, p)
        better = careful_text(root)
        if better or not text:
            return Page(text=better, extractor=CAREFUL, **about)
    return Page(text=text, extractor=FAST, **about)


def fast_text(walk: Walk, p: np.ndarray, config: ExtractConfig) -> tuple[str, float]:
    """Main text by the block model, and how much doubt there is about it.

    Doubt is the expected number of wrongly judged characters over the characters kept:
    ``sum(chars * min(p, 1 - p)) / sum(chars of kept blocks)``, at most 1.
    """
    if not walk.blocks:
        return "", 1.0
    keep = p >= config.keep_score
    chars = np.array([len(block.text) for block in walk.blocks], np.float64)
    kept = [block for block, kept in zip(walk.blocks, keep, strict=True) if kept]
    unsure = float((chars * np.minimum(p, 1 - p)).sum())
    return render(kept), min(1.0, unsure / max(float(chars[keep].sum()), 1.0))


def _goes_on(html: bytes, root: Any, text: str, doubt: float, config: ExtractConfig) -> bool:
    """Whether the careful extractor reads the page too. Sizes decide, never the clock."""
    if not config.careful or len(html) > config.max_careful_bytes:
        return False
    if doubt <= config.max_doubt and len(text) >= config.min_chars:
        return False
    return sum(1 for _ in root.iter()) <= config.max_careful_elements


def _metadata(root: Any) -> dict[str, str | None]:
    return {
        "title": title_of(root),
        "date": date_of(root),
        "language": language_of(root),
        "licence": licence_of(root),
    }
