"""Gopher's repetition rules (arXiv:2112.11446, A1.1, table A1)."""

from corpus.rules.configs.gopher import GopherRepetitionConfig
from corpus.rules.repetition import duplicate_ngram_shares, top_ngram_share
from corpus.rules.statistics import Statistics
from corpus.rules.verdict import Rejection


def gopher_repetition(
    stats: Statistics, source: str, config: GopherRepetitionConfig
) -> Rejection | None:
    """Judge a document by how much it repeats; the first rule that fails answers."""
    if not config.enabled:
        return None
    limits = (config.max_duplicate_paragraphs, config.max_duplicate_paragraph_chars)
    rejection = _by_pieces("paragraph", stats.duplicate_paragraphs, *limits)
    if rejection or source in config.except_sources:
        return rejection
    limits = (config.max_duplicate_lines, config.max_duplicate_line_chars)
    return _by_pieces("line", stats.duplicate_lines, *limits) or _by_ngrams(stats, config)


def _by_pieces(
    what: str, shares: tuple[float, float], share: float, chars: float
) -> Rejection | None:
    if shares[0] > share:
        return Rejection(f"duplicate_{what}s", shares[0])
    if shares[1] > chars:
        return Rejection(f"duplicate_{what}_characters", shares[1])
    return None


def _by_ngrams(stats: Statistics, config: GopherRepetitionConfig) -> Rejection | None:
    hashes, lengths = stats.tokens
    for n, limit in config.max_top_ngram_chars.items():
        share = top_ngram_share(hashes, lengths, n, limit)
        if share > limit:
            return Rejection(f"top_{n}_gram", share)
    limits = config.max_duplicate_ngram_chars
    for n, share in duplicate_ngram_shares(hashes, lengths, limits):
        if share > limits[n]:
            return Rejection(f"duplicate_{n}_grams", share)
    return None
