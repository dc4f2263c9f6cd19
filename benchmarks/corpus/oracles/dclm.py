"""DCLM's cases (tests/baselines/mappers)."""

from collections import Counter
from typing import Any

from benchmarks.corpus.oracles.case import Answer, Call, NotOursError, kept_lines
from corpus.rules import c4, dclm
from corpus.rules.clean import removed_share
from corpus.rules.code import alphanumeric_share, longest_line, mean_line
from corpus.rules.configs.c4 import C4Config
from corpus.rules.configs.dclm import DclmConfig
from corpus.rules.configs.gopher import GopherQualityConfig
from corpus.rules.gopher_quality import gopher_quality, symbol_ratio
from corpus.rules.lines import count_sentences
from corpus.rules.repetition import duplicate_ngram_shares, top_ngram_share
from corpus.rules.statistics import Statistics
from corpus.safety.config import UrlWordsConfig
from corpus.safety.domains import UrlWords
from corpus.safety.words import WordList

FIXTURE = "its list is a file of the other project's tests that the case does not hold"
QUIET_LINES: dict[str, Any] = {
    "max_upper_line": 1.0,
    "max_digit_line": 1.0,
    "counters": (),
    "min_line_words": 0,
    "short_line_words": 10**9,
    "prefixes": (),
    "suffixes": (),
    "phrases": (),
}
QUIET_C4: dict[str, Any] = {
    "enabled": True,
    "terminal_punctuation": False,
    "min_line_words": 0,
    "citations": False,
    "javascript": False,
    "policy": (),
}


def _kept(answer: bool, expected: Any) -> bool:
    return answer == bool(expected)


def _text(expected: Any) -> list[str]:
    return kept_lines(expected[0]["text"]) if expected else []


def alphanumeric_char_ratio_filter(call: Call, given: Any, expected: Any) -> bool:
    least = call.get("max_alnum_ratio", 0, 0.25)
    enough = alphanumeric_share(Statistics(given["text"])) >= float(least)
    return _kept(bool(given["text"]) and enough, expected)


def alphabetic_word_ratio_filter(call: Call, given: Any, expected: Any) -> bool:
    most = call.get("max_ratio", 0, 0.2)
    return _kept(1 - Statistics(given["text"]).alphabetic_words <= most, expected)


def line_length_filter(call: Call, given: Any, expected: Any) -> bool:
    stats = Statistics(given["text"])
    measure = {"max": longest_line, "avg": mean_line}[call.get("length_type", 0, "max")]
    most = call.get("max_length", 1, 1000)
    return _kept(bool(given["text"]) and measure(stats) <= most, expected)


def page_length_filter(call: Call, given: Any, expected: Any) -> bool:
    stats = Statistics(given["text"])
    unit, least = call.get("length_type", 0), call.get("min_length", 1, 1)
    if unit in ("line", "paragraph"):
        raise NotOursError(f"no rule asks for a number of {unit}s of prose")
    if unit == "word" and not call.get("ignore_punctuation", 9):
        raise NotOursError("it counts punctuation marks as words; ours, as Gopher's, does not")
    count = {
        "word": stats.num_words,
        "char": len(given["text"]),
        "sentence": count_sentences(given["text"]),
    }[unit]
    return _kept(count >= max(least, 1), expected)


def word_length_filter(call: Call, given: Any, expected: Any) -> bool:
    config = GopherQualityConfig(
        min_words=1,
        min_mean_word_length=call.get("min_length", 0, 0),
        max_mean_word_length=call.get("max_length", 1, 10**9),
        min_alphabetic_words=0,
        min_stop_words=0,
    )
    return _kept(gopher_quality(Statistics(given["text"]), config) is None, expected)


def symbol_ratio_filter(call: Call, given: Any, expected: Any) -> bool:
    text = given["text"]
    if "##" in text or ("#" in text and ("..." in text or "…" in text)):
        raise NotOursError("it adds hash signs and ellipses up; ours, as the paper, takes either")
    stats = Statistics(text)
    most = call.get("max_symbol_to_word_ratio", 0, 0.1)
    return _kept(stats.num_words > 0 and symbol_ratio(stats) <= most, expected)


def stop_word_filter(call: Call, given: Any, expected: Any) -> bool:
    stats = Statistics(given["text"])
    least = call.get("min_stop_word", 1, 2)
    if call.get("count_unique", 0, False):
        words = frozenset(GopherQualityConfig().stop_words)
        return _kept(stats.stop_words(words, least) >= least, expected)
    config = DclmConfig(enabled=True, min_stop_words=least)
    return _kept(dclm.dclm(stats, config) is None, expected)


def repetition_filter(call: Call, given: Any, expected: Any) -> bool:
    size, most = call.get("granularity", 0), call.get("max_fraction", 1)
    if isinstance(size, str):
        if not given["text"]:
            return _kept(False, expected)
        raise NotOursError(
            "it counts a repeated line's first occurrence too; ours, as the paper, what repeats"
        )
    stats = Statistics(given["text"])
    if size <= 4:
        return _kept(bool(given["text"]) and top_ngram_share(*stats.tokens, size) <= most, expected)
    ((_, share),) = duplicate_ngram_shares(*stats.tokens, (size,))
    return _kept(bool(given["text"]) and share <= most, expected)


def substring_filter(call: Call, given: Any, expected: Any) -> bool:
    words = call.get("banlist", 0)
    if call.get("banlist_from_fname", 9) is NotImplemented:
        raise NotOursError(FIXTURE)
    if call.get("location", 9, "any") != "any":
        raise NotOursError("no rule asks for a document's first or last words")
    if not call.get("exact_word", 9, False):
        raise NotOursError("our word lists ask for whole words in spaced scripts")
    hits = WordList([words] if isinstance(words, str) else words).hits(given["text"])
    return _kept(not hits, expected)


def url_substring_filter(call: Call, given: Any, expected: Any) -> bool:
    if NotImplemented in call.named.values():
        raise NotOursError(FIXTURE)
    words = call.get("banlist", 0)
    config = UrlWordsConfig(
        name="x",
        path="x",
        min_hits=call.get("num_banned_substrs", 3, 1),
        match="substring" if call.get("match_substrings", 5, True) else "word",
        ignore="".join(call.get("ignore_chars", 2, None) or []),
        case_sensitive=call.get("case_sensitive", 6, False),
    )
    hits = UrlWords([words] if isinstance(words, str) else words, config).hits(given["url"])
    return _kept(hits < config.min_hits, expected)


def word_removal_ratio_filter(call: Call, given: Any, expected: Any) -> bool:
    before = given["prev_word_count"]
    after = given.get("new_word_count") if call.get("new_word_count_key", 1) else None
    if after is None:
        after = len(Statistics(given["text"]).tokens.lengths)
    most = call.get("max_removed_ratio", 2, DclmConfig().max_removed_words)
    return _kept(removed_share(before, after) <= most, expected)


def _lines(given: Any, expected: Any, **rules: Any) -> bool:
    config = DclmConfig(**(QUIET_LINES | rules))
    return kept_lines(dclm.clean(given["text"], config, Counter())) == _text(expected)


def _c4_lines(given: Any, expected: Any, **rules: Any) -> bool:
    config = C4Config(**(QUIET_C4 | rules))
    return kept_lines(c4.clean(given["text"], config, Counter())) == _text(expected)


def uppercase_ratio_line_modifier(call: Call, given: Any, expected: Any) -> bool:
    return _lines(given, expected, max_upper_line=call.get("max_ratio", 0, 0.5))


def numeric_ratio_line_modifier(call: Call, given: Any, expected: Any) -> bool:
    return _lines(given, expected, max_digit_line=call.get("max_ratio", 0, 1.0))


def counter_line_modifier(call: Call, given: Any, expected: Any) -> bool:
    return _lines(given, expected, counters=DclmConfig().counters)


def line_length_modifier(call: Call, given: Any, expected: Any) -> bool:
    if "max_length" in call.named:
        raise NotOursError("no rule drops long lines of prose")
    return _lines(given, expected, min_line_words=call.get("min_length", 0, 0))


def substring_line_modifier(call: Call, given: Any, expected: Any) -> bool:
    if call.get("case_sensitive", 1) or call.get("remove_substring_only", 4):
        raise NotOursError("our phrases are compared in lower case, and the whole line goes")
    kind = {"any": "phrases", "prefix": "prefixes", "suffix": "suffixes"}
    phrase = call.get("banlist", 0).lower()
    rules = {kind[call.get("location", 2, "any")]: (phrase,)}
    if call.get("max_length", 3):
        rules["short_line_words"] = call.get("max_length", 3)
    return _lines(given, expected, **rules)


def punctuation_line_modifier(call: Call, given: Any, expected: Any) -> bool:
    if not call.get("remove_ellipses", 0) and given["text"]:
        raise NotOursError("ours, as C4's code, drops lines that end in an ellipsis")
    return _c4_lines(given, expected, terminal_punctuation=True, end_marks=(".", "!", "?", '"'))


def word_length_modifier(call: Call, given: Any, expected: Any) -> bool:
    return _c4_lines(given, expected, max_word_chars=call.get("max_length", 0, 1000))


def citation_removal_modifier(call: Call, given: Any, expected: Any) -> bool:
    return _c4_lines(given, expected, citations=True)


ANSWERS: dict[str, Answer] = {
    function.__name__: function
    for function in (
        *(alphanumeric_char_ratio_filter, alphabetic_word_ratio_filter, line_length_filter),
        *(page_length_filter, word_length_filter, symbol_ratio_filter, stop_word_filter),
        *(repetition_filter, substring_filter, url_substring_filter, word_removal_ratio_filter),
        *(uppercase_ratio_line_modifier, numeric_ratio_line_modifier, counter_line_modifier),
        *(line_length_modifier, substring_line_modifier, punctuation_line_modifier),
        *(word_length_modifier, citation_removal_modifier),
    )
}
NOT_OURS = {
    "alphabetic_characters_to_tokens_filter": "it asks a tokenizer, which a corpus does not have",
    "arxiv_appendix_modifier": "rewrites LaTeX sources; we read none",
    "arxiv_comment_modifier": "rewrites LaTeX sources; we read none",
    "arxiv_macro_modifier": "rewrites LaTeX sources; we read none",
    "arxiv_section_strip_modifier": "rewrites LaTeX sources; we read none",
    "github_extension_filter": "files are chosen by their path in the source's config",
    "html_content_extraction_modifier": "extraction is no rule, and uses another library",
    "join_lines_modifier": "a step of that pipeline's own data shape",
    "key_name_modifier": "a step of that pipeline's own data shape",
    "split_lines_modifier": "a step of that pipeline's own data shape",
    "language_filter": "it reads a score that another tool left in the record",
    "newline_removal_modifier": "normalisation does it, always to one empty line",
    "stackexchange_answer_sort_modifier": "rewrites Stack Exchange dumps; we read none",
    "stackexchange_qa_formatter": "rewrites Stack Exchange dumps; we read none",
    "within_page_dedup": "we reject documents that repeat themselves, and edit across documents",
}
