"""Puts typed placeholders where personal data and secrets stand."""

import re
from collections import Counter
from collections.abc import Iterator

from corpus.safety.config import PiiConfig
from corpus.safety.pii.network import emails, ip_addresses, url_credentials
from corpus.safety.pii.numbers import cn_ids, credit_cards, ibans, ssns
from corpus.safety.pii.phone import phones
from corpus.safety.pii.secrets import secrets
from corpus.safety.pii.span import Span, without_overlaps

_NUMBER = re.compile(r"\d(?:[^\d\n]{0,3}\d){6,}")
"""Seven digits near each other: no number that is looked for has fewer, and prose has few."""
_BEFORE, _AFTER = 16, 20
"""Characters around such digits that belong to the number: a country code, an extension."""


class Masker:
    """Finds and masks the configured types."""

    def __init__(self, config: PiiConfig) -> None:
        self._config = config
        self._types = frozenset(config.types)

    def find(self, text: str) -> list[Span]:
        """Spans in text order, none overlapping; the more certain kind wins."""
        return without_overlaps(s for s in self._candidates(text) if s.type in self._types)

    def mask(self, text: str) -> tuple[str, dict[str, int]]:
        """(text with ``<TYPE>`` in place of each span, spans by type)."""
        spans = self.find(text)
        if not spans:
            return text, {}
        pieces, end = [], 0
        for span in spans:
            pieces += [text[end : span.start], f"<{span.type}>"]
            end = span.end
        return "".join([*pieces, text[end:]]), dict(sorted(Counter(s.type for s in spans).items()))

    def _candidates(self, text: str) -> Iterator[Span]:
        """By certainty: marked tokens, then addresses, then checked numbers, then the rest."""
        if "SECRET" in self._types:
            yield from secrets(text)
        if "URL_CREDENTIALS" in self._types:
            yield from url_credentials(text)
        if "EMAIL" in self._types:
            yield from emails(text)
        if "IP" in self._types:
            yield from ip_addresses(text, self._config.private_ips)
        windows = list(_windows(text))
        for finder in (cn_ids, ibans, credit_cards, ssns):
            for start, end in windows:
                yield from finder(text, start, end)
        if "PHONE" in self._types:
            for start, end in windows:
                yield from phones(text, self._config, start, end)


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """Stretches of the text with enough digits, not overlapping."""
    first, last = 0, 0
    for match in _NUMBER.finditer(text):
        start, end = max(match.start() - _BEFORE, 0), match.end() + _AFTER
        if start > last:
            if last:
                yield first, last
            first = start
        last = end
    if last:
        yield first, last
