"""E-mail and IP addresses, and passwords in URLs."""

import ipaddress
import re
from collections.abc import Iterator

from corpus.safety.pii.span import Span

_EMAIL = re.compile(
    r"(?<![a-zA-Z0-9_.+\-@])[a-zA-Z0-9_][a-zA-Z0-9_.+\-]{0,63}@(?:[a-zA-Z0-9](?:[a-zA-Z0-9\-]{0,61}[a-zA-Z0-9])?\.)+"
    r"[a-zA-Z]{2,24}(?![a-zA-Z0-9])"
)
_URL_CREDENTIALS = re.compile(r"(?<=://)[^\s/@:<>\"']{1,128}:[^\s/@<>\"']{1,128}(?=@[\w\-.\[])")
_V4 = re.compile(r"(?<![A-Za-z0-9_.\-])(?:\d{1,3}\.){3}\d{1,3}(?!\.?[A-Za-z0-9_]|-\d)")
_DOTS = re.compile(r"\.\d{1,3}\.\d{1,3}\.\d")
"""Begins with a character that prose has few of, so that most text is skipped quickly."""
_COLONS = re.compile(r":[0-9a-fA-F]{0,4}:")
_V6 = re.compile(
    r"(?<![A-Za-z0-9_:.])[0-9a-fA-F:]*:[0-9a-fA-F:]*(?:\d{1,3}(?:\.\d{1,3}){3})?(?![A-Za-z0-9_:])"
)
_VERSION = re.compile(r"(?:\bv\.?|\bver\.?|version|release|build|firmware)[\s:=]*$", re.IGNORECASE)
_LONGEST_V6 = 45


def emails(text: str) -> Iterator[Span]:
    """Addresses by the shape of RFC 5322's dot-atom; a domain needs a letters-only last label."""
    if "@" not in text:
        return
    for match in _EMAIL.finditer(text):
        local = match.group().partition("@")[0]
        if ".." not in local and not local.endswith("."):
            yield Span(*match.span(), "EMAIL")


def url_credentials(text: str) -> Iterator[Span]:
    """``user:password`` between the scheme and the host of a URL."""
    if "://" in text and "@" in text:
        for match in _URL_CREDENTIALS.finditer(text):
            yield Span(*match.span(), "URL_CREDENTIALS")


def ip_addresses(text: str, private: bool) -> Iterator[Span]:
    """IPv4 and IPv6 addresses; version numbers are none.

    Args:
        text: where to look.
        private: take addresses of reserved networks too.
    """
    last = 0
    for dots in _DOTS.finditer(text):
        match = _V4.search(text, max(dots.start() - 3, last), dots.start() + 20)
        if match and _wanted(match.group(), private) and not _is_version(text, match.start()):
            yield Span(*match.span(), "IP")
            last = match.end()
    if text.count(":") >= 2:
        yield from _v6(text, private)


def _v6(text: str, private: bool) -> Iterator[Span]:
    last = 0
    for colons in _COLONS.finditer(text):
        if colons.start() < last:
            continue
        window = max(colons.start() - _LONGEST_V6, last)
        for match in _V6.finditer(text, window, colons.end() + _LONGEST_V6):
            if match.end() > colons.start() and _wanted(match.group(), private):
                yield Span(*match.span(), "IP")
                last = match.end()
            if match.start() > colons.start():
                break


def _wanted(candidate: str, private: bool) -> bool:
    """Whether it is an address, and one of the open internet where private ones do not count."""
    try:
        address = ipaddress.ip_address(candidate)
    except ValueError:
        return False
    if address.version == 6 and candidate.count(":") < 3 and not re.search(r"\d", candidate):
        return False  # Ab::Cd is a name of a program's class
    return private or address.is_global


def _is_version(text: str, start: int) -> bool:
    return bool(_VERSION.search(text, max(start - 12, 0), start))
