"""Config of safety: what is masked, and which of the user's lists reject or count.

The project ships no list of domains or words: name files of your own.
"""

from typing import Literal

from pydantic import Field, model_validator

from clusters.config import StageConfig

PiiType = Literal[
    "EMAIL",
    "IP",
    "PHONE",
    "CREDIT_CARD",
    "CN_ID",
    "IBAN",
    "US_SSN",
    "SECRET",
    "URL_CREDENTIALS",
]
PII_TYPES: tuple[PiiType, ...] = PiiType.__args__  # type: ignore[attr-defined]


class PiiConfig(StageConfig):
    """What is replaced by a typed placeholder such as ``<EMAIL>``."""

    enabled: bool = True
    """Mask personal data and secrets."""
    types: tuple[PiiType, ...] = PII_TYPES
    """Kinds that are masked."""
    private_ips: bool = False
    """Mask addresses of private, loopback and other reserved networks too, which name nobody."""
    phone_regions: tuple[str, ...] = ("US", "CN", "GB", "AU", "FR")
    """ISO 3166 codes of countries whose national phone numbers are looked for; numbers with a
    country code are found anyway. Each more region finds more, and more that is none; plans that
    take almost any digits (DE, AT) find most of a table of numbers."""
    strict_phones: bool = True
    """National numbers must be written with separators, or be a Chinese mobile number."""


class ListConfig(StageConfig):
    """One of the user's lists: plain text, an entry a line; empty lines and ``#`` are skipped."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Its name in reasons and columns."""
    path: str
    """The file."""


class DomainListConfig(ListConfig):
    """Hosts whose pages are rejected, sub-domains included; also ``host/path`` prefixes."""


class UrlWordsConfig(ListConfig):
    """Words in URLs that reject a page (RefinedWeb, arXiv:2306.01116, G.1)."""

    min_hits: int = Field(default=1, ge=1)
    """Different words that must occur: 1 for strict words, 2 for softer ones."""
    match: Literal["substring", "word"] = "word"
    """Whether a word counts inside other words too; no letter or digit touches a word."""
    ignore: str = ""
    """Characters taken out of the URL first, such as ``-.`` in ``b-a-d.com``."""
    case_sensitive: bool = False
    """Compare upper and lower case as they are."""


class WordListConfig(ListConfig):
    """Words counted in the text: a column, and a reason to reject where there are too many."""

    languages: tuple[str, ...] = ()
    """ISO 639-1 codes of the texts it is for; empty for all."""
    exclude: tuple[str, ...] = ()
    """Entries left out; in scripts without spaces short ones hit inside innocent words."""
    max_hits: int | None = Field(default=None, ge=0)
    """A document with more hits is rejected; C4's rule is 0. Null never rejects."""
    max_share: float | None = Field(default=None, ge=0, le=1)
    """A document with a larger share of hits among its words is rejected. Null never rejects."""


class SafetyConfig(StageConfig):
    """Masks, domain lists and word lists."""

    pii: PiiConfig = PiiConfig()
    """Personal data and secrets."""
    domains: tuple[DomainListConfig, ...] = ()
    """Lists of hosts, asked in order."""
    url_words: tuple[UrlWordsConfig, ...] = ()
    """Lists of words in URLs, asked in order."""
    words: tuple[WordListConfig, ...] = ()
    """Lists of words in texts, asked in order."""

    @model_validator(mode="after")
    def _names_differ(self) -> "SafetyConfig":
        for kind in ("domains", "url_words", "words"):
            names = [entry.name for entry in getattr(self, kind)]
            if len(set(names)) < len(names):
                raise ValueError(f"{kind}: two lists have the same name: {sorted(names)}")
        return self


def score_columns(config: SafetyConfig) -> list[str]:
    """Names of the f32 columns that :meth:`corpus.safety.safety.Safety.columns` fills, in order."""
    return [f"{entry.name}_words" for entry in config.words]
