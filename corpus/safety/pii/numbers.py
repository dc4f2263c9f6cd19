"""Numbers with a check: credit cards, Chinese resident ids, IBANs; and US social security.

Each looks at ``text[start:end]`` and sees what lies around it.
"""

import re
import sys
from collections.abc import Iterator
from datetime import date

from corpus.safety.pii.span import Span

_CARD = re.compile(r"(?<![A-Za-z0-9_.\-])\d(?:[ \-]?\d){11,18}(?![A-Za-z0-9_]|-\d|\.\d)")
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})$"  # Visa
    r"|(?:5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}$"  # Mastercard
    r"|3[47]\d{13}$"  # American Express
    r"|(?:6011|65\d{2}|64[4-9]\d)\d{12,15}$"  # Discover
    r"|3(?:0[0-59]|[68]\d)\d{11,16}$"  # Diners Club
    r"|35\d{14,17}$|(?:2131|1800)\d{11}$"  # JCB, with the rest of its block
    r"|62\d{14,17}$"  # UnionPay
    r"|(?:5018|5020|5038|5[678]\d\d|6304|6390|6759|676[1-3]|0604)\d{8,15}$"  # Maestro
)
_CN_ID = re.compile(r"(?<![\dA-Za-z])[1-9]\d{16}[\dXx](?![\dA-Za-z])")
_CN_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CN_CHECKS = "10X98765432"
_CN_PROVINCES = frozenset(
    code
    for first, last in ((11, 15), (21, 23), (31, 37), (41, 46), (50, 54), (61, 65), (81, 83))
    for code in (*range(first, last + 1), 71)
)
_IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ \-]?[A-Z0-9]{4}){2,7}(?:[ \-]?[A-Z0-9]{1,3})?"
    r"(?![A-Za-z0-9])"
)
_SSN = re.compile(r"(?<![\d\-.])(?!000|666|9)\d{3}([\- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\d\-])")


def credit_cards(text: str, start: int = 0, end: int = sys.maxsize) -> Iterator[Span]:
    """Card numbers: an issuer's range and length (ISO/IEC 7812) and Luhn's check digit."""
    for match in _CARD.finditer(text, start, end):
        digits = re.sub(r"\D", "", match.group())
        if _ISSUERS.match(digits) and luhn(digits) and len(set(digits)) > 1:
            yield Span(*match.span(), "CREDIT_CARD")


def luhn(digits: str) -> bool:
    """Luhn's check (US patent 2,950,048): every second digit from the right counts double."""
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def cn_ids(text: str, start: int = 0, end: int = sys.maxsize) -> Iterator[Span]:
    """Chinese resident ids: province, date of birth and check digit (GB 11643-1999)."""
    for match in _CN_ID.finditer(text, start, end):
        if is_cn_id(match.group()):
            yield Span(*match.span(), "CN_ID")


def is_cn_id(number: str) -> bool:
    """Whether 18 characters are a resident id."""
    if int(number[:2]) not in _CN_PROVINCES:
        return False
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    total = sum(w * int(d) for w, d in zip(_CN_WEIGHTS, number, strict=False))
    return born.year >= 1900 and _CN_CHECKS[total % 11] == number[17].upper()


def ibans(text: str, start: int = 0, end: int = sys.maxsize) -> Iterator[Span]:
    """International bank account numbers: 15 to 34 characters, ISO 7064 mod 97-10."""
    for match in _IBAN.finditer(text, start, end):
        last = match.end()  # a word in capitals may follow: try again without it
        while last > match.start():
            compact = re.sub(r"[ \-]", "", text[match.start() : last])
            if len(compact) < 15:
                break
            if len(compact) <= 34 and mod97(compact):
                yield Span(match.start(), last, "IBAN")
                break
            last = max(text.rfind(" ", match.start(), last), match.start())


def mod97(compact: str) -> bool:
    """Whether letters taken as 10 to 35 and the first four characters last leave 1 modulo 97."""
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(char, 36)) for char in moved)) % 97 == 1


def ssns(text: str, start: int = 0, end: int = sys.maxsize) -> Iterator[Span]:
    """US social security numbers with separators, in the ranges that were given out."""
    for match in _SSN.finditer(text, start, end):
        yield Span(*match.span(), "US_SSN")
