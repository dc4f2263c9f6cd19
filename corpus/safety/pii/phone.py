"""Phone numbers: by a cheap pattern first, then by the numbering plans of ``phonenumbers``."""

import re
import sys
from collections.abc import Iterator
from functools import lru_cache

from corpus.safety.config import PiiConfig
from corpus.safety.pii.span import Span

_CANDIDATE = re.compile(
    r"(?<![A-Za-z0-9_.\-/+=#$€£¥:])(?:\+|00|\(\+)?\(?\d{1,15}\)?"
    r"(?:(?:[ \u00a0]?[.\-\u2013/][ \u00a0]?\(?|[ \u00a0]\(?|\(|(?<=\)))\d{1,8}\)?){0,7}"
    r"(?:\s?(?:x|ext\.?|extension)\s?\d{1,6})?(?![A-Za-z0-9_]|-\d|[.,/:]\d)",
    re.IGNORECASE,
)
_CN_MOBILE = re.compile(r"1[3-9]\d{9}$|1[3-9]\d[ \-]\d{4}[ \-]\d{4}$")
_DATE = re.compile(
    r"(?:19|20)\d\d[\-./ ][01]?\d[\-./ ][0-3]?\d(?!\d)"
    r"|[0-3]?\d[\-./][0-3]?\d[\-./](?:19|20)\d\d(?!\d)"
)
_YEARS = re.compile(r"(?:1[5-9]|20)\d\d\s?[\-\u2013/]\s?(?:1[5-9]|20)?\d\d$")
_QUAD = re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?!\.\d{2}$)")
_DECIMAL = re.compile(r"\d+\.\d+$")
_SEPARATED = re.compile(r"\d[().\-\s\u2013/]+\d")
_CALL = re.compile(
    r"(?<!<)phone|mobile|cell|\bcall|\bfax|\btel|\bdesk|office|whatsapp|answering|电话|手机",
    re.IGNORECASE,
)
_CALL_BEFORE, _CALL_AFTER = 20, 10
"""Characters in which a word of that kind vouches for a short number."""
_MIN_DIGITS, _MIN_VOUCHED_DIGITS = 9, 7
"""Fewer than nine are subscriber numbers without an area code: as often a house number and a
postcode, so they need a word beside them."""

_MIN_WITH_00 = 11
_MAX_INNER_DIGITS = 5


def phones(text: str, config: PiiConfig, start: int = 0, end: int = sys.maxsize) -> Iterator[Span]:
    """Numbers in ``text[start:end]`` that are valid under a numbering plan."""
    for match in _CANDIDATE.finditer(text, start, end):
        number = match.group()
        if sum(map(str.isdigit, number)) >= _MIN_VOUCHED_DIGITS and _is_phone(text, match, config):
            yield Span(*match.span(), "PHONE")


def _is_phone(text: str, match: re.Match[str], config: PiiConfig) -> bool:
    number = match.group()
    if _DATE.match(number) or _YEARS.match(number) or _DECIMAL.match(number):
        return False
    if _QUAD.search(number):
        return False
    groups = re.findall(r"\d+", number)
    digits = sum(map(len, groups))
    if number.startswith(("+", "(+")) or (number.startswith("00") and digits >= _MIN_WITH_00):
        return _known("+" + number.lstrip("(+0"), None)
    if "CN" in config.phone_regions and _CN_MOBILE.match(number):
        return True
    if config.strict_phones and not _SEPARATED.search(number):
        return False
    if _vouched(text, match):
        return True
    if digits < _MIN_DIGITS or any(len(group) < 2 for group in groups[1:]):
        return False
    if any(len(group) > _MAX_INNER_DIGITS for group in groups[:-1]):
        return False
    return any(_known(number, region) for region in config.phone_regions)


def _vouched(text: str, match: re.Match[str]) -> bool:
    """Whether a word such as ``phone`` stands beside the number."""
    before = text[max(match.start() - _CALL_BEFORE, 0) : match.start()]
    return bool(_CALL.search(before) or _CALL.search(text[match.end() : match.end() + _CALL_AFTER]))


@lru_cache(maxsize=4096)
def _known(number: str, region: str | None) -> bool:
    """Valid in a region's plan; with a country code, of a possible length there."""
    import phonenumbers

    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return False
    if region is None:
        return phonenumbers.is_possible_number(parsed)
    return phonenumbers.is_valid_number(parsed)
