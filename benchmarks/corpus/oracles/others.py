"""Cases of datatrove (tests/pipeline), NeMo Curator (tests/test_filters.py), data-juicer."""

import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from benchmarks.corpus.oracles.case import Answer, Call, NotOursError
from corpus.rules.c4 import c4
from corpus.rules.clean import clean
from corpus.rules.code import has_xml_header
from corpus.rules.config import RulesConfig
from corpus.rules.configs.c4 import C4Config
from corpus.rules.configs.curator import CuratorConfig
from corpus.rules.configs.fineweb import FineWebConfig
from corpus.rules.configs.gopher import GopherQualityConfig, GopherRepetitionConfig
from corpus.rules.curator import curator, symbol_share, url_share
from corpus.rules.fineweb import fineweb
from corpus.rules.gopher_quality import ellipsis_lines, gopher_quality
from corpus.rules.gopher_repetition import gopher_repetition
from corpus.rules.repetition import top_ngram_share
from corpus.rules.statistics import Statistics
from corpus.rules.verdict import Rejection

REASONS = {
    "gopher_below_avg_threshold": "words_too_short",
    "gopher_too_many_hashes": "too_many_hashes",
    "gopher_too_many_ellipsis": "too_many_ellipses",
    "gopher_below_alpha_threshold": "too_few_alphabetic_words",
    "dup_line_frac": "duplicate_lines",
    "dup_line_char_frac": "duplicate_line_characters",
    "dup_para_frac": "duplicate_paragraphs",
    "dup_para_char_frac": "duplicate_paragraph_characters",
    "top_2_gram": "top_2_gram",
    "top_3_gram": "top_3_gram",
    "line_punct_ratio": "lines_without_punctuation",
    "lorem_ipsum": "lorem_ipsum",
    "curly_bracket": "curly_bracket",
    "too_few_sentences": "too_few_sentences",
}
"""datatrove's reason -> ours."""


def _same(rejection: Rejection | None, expected: Any) -> bool:
    if expected["keep"]:
        return rejection is None
    return rejection is not None and rejection.reason == REASONS.get(expected["reason"])


def c4_quality(call: Call, given: Any, expected: Any) -> bool:
    config = RulesConfig(c4=C4Config(enabled=True))
    text = clean("s", given, "en", config).text
    return _same(c4(Statistics(text), config.c4), expected)


def c4_paragraph(call: Call, given: Any, expected: Any) -> bool:
    config = C4Config(
        enabled=True, min_long_lines=3, min_sentences=0, lorem_ipsum=False, curly_bracket=False
    )
    return _same(c4(Statistics(given), config), expected)


def fineweb_quality(call: Call, given: Any, expected: Any) -> bool:
    config = FineWebConfig(enabled=True, min_line_punctuation=call.named["line_punct_thr"])
    return _same(fineweb(Statistics(given), config), expected)


def gopher_quality_filter(call: Call, given: Any, expected: Any) -> bool:
    config = GopherQualityConfig(
        min_words=call.named["min_doc_words"],
        max_words=call.named["max_doc_words"],
        min_alphabetic_words=0.8,
    )
    return _same(gopher_quality(Statistics(given), config), expected)


def gopher_repetition_filter(call: Call, given: Any, expected: Any) -> bool:
    stats = Statistics(given)
    if expected.get("reason", "").startswith("top_") and _ties(stats):
        raise NotOursError(
            "of equally frequent n-grams it takes the first, ours (as DCLM's) the longest; both "
            "reject this document"
        )
    return _same(gopher_repetition(stats, "s", GopherRepetitionConfig()), expected)


def _ties(stats: Statistics) -> bool:
    """Whether the most frequent word pairs are several of different length."""
    words = re.findall(r"\w+", stats.text)
    counts = Counter(pairwise(words))
    return len({sum(map(len, p)) for p, n in counts.items() if n == max(counts.values())}) > 1


def _each(keep: Callable[[Statistics], bool]) -> Answer:
    """An answer for Curator's cases: which of the texts stay."""

    def answer(call: Call, given: Any, expected: Any) -> bool:
        kept = [text for text in given if text and keep(Statistics(text))]
        return kept == [text for text in expected["text"] if text]

    return answer


def _curator_urls(stats: Statistics) -> bool:
    rejection = curator(stats, CuratorConfig(enabled=True, max_url_chars=1, max_open_sentences=1))
    return rejection is None or rejection.reason != "pornographic_url"


def _jieba(call: Call, given: Any, expected: Any) -> bool:
    raise NotOursError("it counts the words of a Chinese segmenter; ours counts characters")


ANSWERS: dict[str, Answer] = {
    "C4QualityFilter": c4_quality,
    "C4ParagraphFilter": c4_paragraph,
    "FineWebQualityFilter": fineweb_quality,
    "GopherQualityFilter": gopher_quality_filter,
    "GopherRepetitionFilter": gopher_repetition_filter,
    "NonAlphaNumericFilter": _each(lambda s: symbol_share(s) <= CuratorConfig().max_symbols),
    "RepeatedParagraphsFilter": _each(lambda s: s.duplicate_paragraphs[0] <= 0.3),
    "RepeatedLinesByCharFilter": _each(lambda s: s.duplicate_lines[1] <= 0.2),
    "UrlsFilter": _each(lambda s: url_share(s.text) <= CuratorConfig().max_url_chars),
    "RepeatingTopNGramsFilter": _each(lambda s: top_ngram_share(*s.tokens, 2) <= 0.2),
    "EllipsisFilter": _each(lambda s: ellipsis_lines(s) <= 0.8),
    "XMLHeaderFilter": _each(lambda s: not has_xml_header(s.text, 100)),
    "PornographicUrlsFilter": _each(_curator_urls),
    "WordCountFilter": _jieba,
}
NOT_OURS = {
    "LanguageFilter": "language identification is a step of its own, measured on langid",
    "MinhashConfig": "near duplicates are a step of their own, tested against datasketch",
    "PIIFormatter": "other address rules: it masks inside longer dotted runs (.3.3.3.0) and what "
    "follows an @ without a domain of letters; ours is measured on labelled spans",
    "SymbolLinesFormatter": "no rule drops lines of symbols; FineWeb and Curator judge their share",
}
_DATA_JUICER = (
    ("Clean", "it deletes; ours puts placeholders, and by other borders of a word"),
    ("Document", "near duplicates are a step of their own, tested against datasketch"),
    ("Ray", "near duplicates are a step of their own, tested against datasketch"),
    ("LLM", "it asks a language model"),
    ("InContext", "it asks a language model"),
    ("TextEmbd", "it asks an embedding model"),
    ("TokenNum", "it asks a tokenizer, which a corpus does not have"),
    ("TextAction", "it parses sentences with a model"),
    ("TextEntity", "it parses sentences with a model"),
    ("LanguageID", "language identification is a step of its own, measured on langid"),
    ("SentenceSplit", "it rewrites text sentence by sentence; no rule of ours"),
    ("Remove", "it deletes words or sentences inside lines; no rule of ours edits below a line"),
    ("Replace", "a general search and replace; no rule of ours"),
    ("SpecifiedNumeric", "it reads a number that another tool left in the record"),
    ("TextLength", "documents have a least number of words, not a range of characters"),
    ("WordRepetition", "it takes overlapping occurrences over all n-grams, not characters covered"),
    ("StopWords", "it asks for a share of stop words, Gopher for a number"),
    ("FlaggedWord", "it needs that project's word lists"),
)
UNNAMED = "the case does not say which operator it is for; they edit text inside lines"


def data_juicer_reason(name: str) -> str:
    """Why a data-juicer case is not ours."""
    return next((why for start, why in _DATA_JUICER if name.startswith(start)), UNNAMED)
