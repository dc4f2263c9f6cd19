"""All of safety for one document: masks, reasons, columns."""

from corpus.rules.verdict import Rejection
from corpus.safety.config import SafetyConfig
from corpus.safety.domains import DomainList, UrlWords
from corpus.safety.lists import read_list
from corpus.safety.pii.mask import Masker
from corpus.safety.words import WordList, hit_share


class Safety:
    """Reads the lists once; make one per process."""

    def __init__(self, config: SafetyConfig) -> None:
        """Read the lists.

        Raises:
            CorpusError: a list cannot be read or is empty.
        """
        self.config = config
        self._masker = Masker(config.pii)
        self._domains = [(c.name, DomainList(read_list(c))) for c in config.domains]
        self._url_words = [(c, UrlWords(read_list(c), c)) for c in config.url_words]
        self._words = [
            (c, WordList([w for w in read_list(c) if w not in c.exclude])) for c in config.words
        ]

    def mask(self, text: str) -> tuple[str, dict[str, int]]:
        """(text with placeholders, how many of each type were put in)."""
        return self._masker.mask(text) if self.config.pii.enabled else (text, {})

    def judge(self, url: str | None, text: str, language: str) -> tuple[str, Rejection] | None:
        """(step, rejection) of the first list that rejects: by host, by URL, by words."""
        rejection = self._by_url(url) if url else None
        return rejection or self._by_words(text, language)

    def columns(self, text: str, language: str) -> dict[str, float]:
        """Share of words that a list has, per list, in the order of ``score_columns``.

        NaN where the list is not for the language: it was not measured.
        """
        return {
            f"{config.name}_words": hit_share(words.hits(text), text)
            if _applies(config.languages, language)
            else float("nan")
            for config, words in self._words
        }

    def _by_url(self, url: str) -> tuple[str, Rejection] | None:
        for name, domains in self._domains:
            if domains.hit(url):
                return "safety", Rejection(f"domain.{name}")
        for config, words in self._url_words:
            hits = words.hits(url)
            if hits >= config.min_hits:
                return "safety", Rejection(f"url_words.{config.name}", hits)
        return None

    def _by_words(self, text: str, language: str) -> tuple[str, Rejection] | None:
        for config, words in self._words:
            limited = config.max_hits is not None or config.max_share is not None
            if not limited or not _applies(config.languages, language):
                continue
            hits = words.hits(text)
            if config.max_hits is not None and len(hits) > config.max_hits:
                return "safety", Rejection(f"words.{config.name}", len(hits))
            if config.max_share is not None:
                share = hit_share(hits, text)
                if share > config.max_share:
                    return "safety", Rejection(f"words.{config.name}", share)
        return None


def _applies(languages: tuple[str, ...], language: str) -> bool:
    return not languages or language in languages
