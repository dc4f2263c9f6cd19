"""Whether a URL lies on a listed host, or carries listed words."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from corpus.safety.config import UrlWordsConfig


class DomainList:
    """Hosts and ``host/path`` prefixes; a host stands for its sub-domains too."""

    def __init__(self, entries: Sequence[str]) -> None:
        """Entries may carry a scheme or ``www.``; both are left out."""
        plain = [_plain(entry) for entry in entries]
        self._hosts = frozenset(entry.rstrip("/") for entry in plain if "/" not in entry[:-1])
        paths: dict[str, list[str]] = {}
        for entry in plain:
            if "/" in entry[:-1]:
                host, _, path = entry.partition("/")
                paths.setdefault(host, []).append("/" + path)
        self._paths = {host: tuple(prefixes) for host, prefixes in paths.items()}

    def hit(self, url: str) -> str | None:
        """The entry that a URL falls under, or None; takes a look-up per label of its host."""
        host, path = split_url(url)
        while host:
            if host in self._hosts:
                return host
            if host in self._paths and path.startswith(self._paths[host]):
                return next(host + p for p in self._paths[host] if path.startswith(p))
            _, _, host = host.partition(".")
        return None


class UrlWords:
    """Words that reject a page where enough different ones occur in its URL."""

    def __init__(self, entries: Sequence[str], config: UrlWordsConfig) -> None:
        self._config = config
        fold = str if config.case_sensitive else str.lower
        words = sorted({fold(entry) for entry in entries}, key=lambda w: (-len(w), w))
        bodies = "|".join(map(re.escape, words))
        guarded = rf"(?<![^\W_])(?:{bodies})(?![^\W_])"
        self._pattern = re.compile(guarded if config.match == "word" else bodies)
        self._ignored = str.maketrans("", "", config.ignore)

    def hits(self, url: str) -> int:
        """Different words that occur; one inside a longer hit does not count."""
        url = url if self._config.case_sensitive else url.lower()
        return len(set(self._pattern.findall(url.translate(self._ignored))))


def split_url(url: str) -> tuple[str, str]:
    """(host without ``www.`` and port, path with query), in lower case; empty where malformed."""
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        host = (parts.hostname or "").removeprefix("www.").rstrip(".")
    except ValueError:
        return "", ""
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return host, path.lower()


def _plain(entry: str) -> str:
    return entry.lower().rpartition("://")[2].removeprefix("www.")
