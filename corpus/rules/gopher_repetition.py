"""Gopher's repetition rules (arXiv:2112.11446, A1.1, table A1)."""

import re
from collections import Counter

from corpus.rules.config import GopherRepetitionConfig
from corpus.rules.verdict import Rejection

_PARAGRAPHS = re.compile(r"\n{2,}")
_WORD = re.compile(r"\w+")


def gopher_repetition(text: str, source: str, config: GopherRepetitionConfig) -> Rejection | None:
    """Judge a document by how much it repeats; the first rule that fails answers."""
    if not config.enabled:
        return None
    paragraphs = [part.strip() for part in _PARAGRAPHS.split(text) if part.strip()]
    limits = (config.max_duplicate_paragraphs, config.max_duplicate_paragraph_chars)
    rejection = _by_pieces("paragraph", paragraphs, *limits)
    if rejection or source in config.except_sources:
        return rejection
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    limits = (config.max_duplicate_lines, config.max_duplicate_line_chars)
    return _by_pieces("line", lines, *limits) or _by_ngrams(text, config)


def duplicate_shares(pieces: list[str]) -> tuple[float, float]:
    """Share of pieces, and of their characters, in pieces that were seen before."""
    repeated = 0
    repeated_chars = 0
    for piece, count in Counter(pieces).items():
        repeated += count - 1
        repeated_chars += (count - 1) * len(piece)
    return repeated / max(len(pieces), 1), repeated_chars / max(sum(map(len, pieces)), 1)


def top_ngram_share(words: list[str], n: int) -> float:
    """Share of the words' characters in the most frequent n-gram.

    The n-gram counts only where it occurs more than once; of equally frequent ones the
    first counts.
    """
    grams = Counter(zip(*(words[i:] for i in range(n)), strict=False))
    if not grams:
        return 0.0
    gram, count = max(grams.items(), key=lambda item: item[1])
    return count * sum(map(len, gram)) / sum(map(len, words)) if count > 1 else 0.0


def duplicate_ngram_share(words: list[str], n: int) -> float:
    """Share of the words' characters in n-grams that occur more than once, each word once."""
    grams = list(zip(*(words[i:] for i in range(n)), strict=False))
    counts = Counter(grams)
    if len(counts) == len(grams):
        return 0.0
    covered = 0
    end = 0
    for start, gram in enumerate(grams):
        if counts[gram] > 1:
            covered += sum(map(len, words[max(start, end) : start + n]))
            end = start + n
    return covered / sum(map(len, words))


def _by_pieces(what: str, pieces: list[str], share: float, chars: float) -> Rejection | None:
    pieces_share, chars_share = duplicate_shares(pieces)
    if pieces_share > share:
        return Rejection(f"duplicate_{what}s", pieces_share)
    if chars_share > chars:
        return Rejection(f"duplicate_{what}_characters", chars_share)
    return None


def _by_ngrams(text: str, config: GopherRepetitionConfig) -> Rejection | None:
    words = _WORD.findall(text)
    for n, limit in config.max_top_ngram_chars.items():
        share = top_ngram_share(words, n)
        if share > limit:
            return Rejection(f"top_{n}_gram", share)
    for n, limit in config.max_duplicate_ngram_chars.items():
        share = duplicate_ngram_share(words, n)
        if share > limit:
            return Rejection(f"duplicate_{n}_grams", share)
    return None
