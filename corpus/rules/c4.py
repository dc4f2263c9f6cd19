"""C4's rules (JMLR 21:140, section 2.2; c4_utils.py of TensorFlow Datasets for the details)."""

import re
from collections import Counter

from corpus.rules.configs.c4 import C4Config
from corpus.rules.lines import count_sentences
from corpus.rules.statistics import Statistics
from corpus.rules.verdict import Rejection

_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_ELLIPSIS = ("...", "…")
_MANY_EMPTY = re.compile(r"\n{3,}")


def clean(text: str, config: C4Config, dropped: Counter[str]) -> str:
    """The text without the lines that C4 drops; counts them by reason in ``dropped``.

    Empty lines stay, so that paragraphs stay apart.
    """
    if config.citations and "[" in text:
        text = _CITATION.sub("", text)
    banned = (*config.policy, "javascript") if config.javascript else config.policy
    lower = text.lower()
    banned = tuple(phrase for phrase in banned if phrase in lower)
    kept = []
    for line in text.split("\n"):
        end = line.rstrip()
        reason = _line_reason(end, config, banned) if end else ""
        if reason:
            dropped[reason] += 1
        else:
            kept.append(line if end else "")
    return _MANY_EMPTY.sub("\n\n", "\n".join(kept)).strip()


def _line_reason(line: str, config: C4Config, banned: tuple[str, ...]) -> str:
    """Why a line goes, or nothing. ``banned`` is what the text has of the banned phrases."""
    if len(line) > config.max_word_chars and max(map(len, line.split())) > config.max_word_chars:
        return "long_word"
    if config.terminal_punctuation and (
        not line.endswith(config.end_marks) or line.endswith(_ELLIPSIS)
    ):
        return "no_end_mark"
    words = len(line.split(None, config.min_line_words))
    if words < config.min_line_words and len(line) < _wide(config.min_line_words, line):
        return "few_words"
    if banned:
        lower = line.lower()
        if config.javascript and "javascript" in lower:
            return "javascript"
        if any(phrase in lower for phrase in banned):
            return "policy"
    return ""


def _wide(words: int, line: str) -> int:
    """Characters that stand for so many words where a line has no spaces: three each."""
    return 3 * words if not line.isascii() and " " not in line.strip() else len(line) + 1


def c4(stats: Statistics, config: C4Config) -> Rejection | None:
    """Judge a document, cleaned or not, by C4's rules on documents."""
    if not config.enabled:
        return None
    text = stats.text
    if config.curly_bracket and "{" in text:
        return Rejection("curly_bracket", text.count("{"))
    if config.lorem_ipsum and "lorem ipsum" in text.lower():
        return Rejection("lorem_ipsum")
    sentences = count_sentences(text, config.min_sentences)
    if sentences < config.min_sentences:
        return Rejection("too_few_sentences", sentences)
    if config.min_long_lines:
        long_lines = sum(len(line) >= config.long_line_chars for line in stats.lines)
        if long_lines < config.min_long_lines:
            return Rejection("too_few_long_lines", long_lines)
    return None
