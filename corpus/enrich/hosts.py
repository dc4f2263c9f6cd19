"""Which hosts much of the recalled text comes from (DeepSeekMath, arXiv:2402.03300, 2.1)."""

from collections import Counter
from collections.abc import Iterable
from urllib.parse import urlsplit

MOST_HOSTS = 10_000
"""Hosts counted of one part at most, those with the most recalled documents first."""


def host_of(url: str | None) -> str | None:
    """The host of a URL in lower case, without ``www.``; None where there is none."""
    try:
        host = urlsplit(url or "").hostname
    except ValueError:
        return None
    return host.removeprefix("www.") if host else None


def count_hosts(urls: Iterable[tuple[str | None, bool]]) -> list[list]:
    """[host, documents, recalled documents] of one part, from (URL, is it recalled)."""
    documents: Counter[str] = Counter()
    recalled: Counter[str] = Counter()
    for url, found in urls:
        host = host_of(url)
        if host is not None:
            documents[host] += 1
            recalled[host] += found
    best = sorted(recalled, key=lambda host: (-recalled[host], host))[:MOST_HOSTS]
    return [[host, documents[host], recalled[host]] for host in best]


def merge_hosts(parts: Iterable[list[list]], min_share: float, min_documents: int) -> list[dict]:
    """Hosts of which more than a share is recalled, most recalled documents first."""
    documents: Counter[str] = Counter()
    recalled: Counter[str] = Counter()
    for part in parts:
        for host, seen, found in part:
            documents[host] += seen
            recalled[host] += found
    named = [
        {"host": host, "documents": seen, "recalled": recalled[host],
         "share": round(recalled[host] / seen, 4)}
        for host, seen in documents.items()
        if seen >= min_documents and recalled[host] > min_share * seen
    ]  # fmt: skip
    return sorted(named, key=lambda row: (-row["recalled"], row["host"]))
