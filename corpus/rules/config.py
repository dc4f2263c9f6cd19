"""Thresholds of the heuristic filters: one profile by default, and profiles by language.

A profile is all rules with their thresholds. ``RulesConfig`` itself is the profile of every
language that ``languages`` does not name; ``zh`` and ``ja`` come with profiles that count
characters instead of white-space words. ``inkstone corpus calibrate`` writes one for another
language.
"""

from typing import Any

from pydantic import BaseModel, Field, model_validator

from clusters.config import StageConfig
from corpus.rules.configs.c4 import C4Config
from corpus.rules.configs.code import CodeConfig
from corpus.rules.configs.curator import CuratorConfig
from corpus.rules.configs.dclm import DclmConfig
from corpus.rules.configs.fineweb import FineWebConfig
from corpus.rules.configs.gopher import GopherQualityConfig, GopherRepetitionConfig
from corpus.rules.configs.han import HanConfig
from corpus.rules.configs.unit import Unit

__all__ = [
    "C4Config",
    "CodeConfig",
    "CuratorConfig",
    "DclmConfig",
    "FineWebConfig",
    "GopherQualityConfig",
    "GopherRepetitionConfig",
    "HanConfig",
    "NotADocumentConfig",
    "Profile",
    "RulesConfig",
]


class NotADocumentConfig(StageConfig):
    """Files that lie among the documentation and document nothing."""

    enabled: bool = True
    """Reject licences, change logs and lists of authors by their file name."""


class Profile(StageConfig):
    """All rules for one language, in the order they are asked. Gopher's are on by default."""

    unit: Unit = "word"
    """What a word is: ``word`` a run of non-space characters, ``character`` for scripts written
    without spaces, where each Han or kana character is one."""
    gopher_quality: GopherQualityConfig = GopherQualityConfig()
    """By what words and lines look like."""
    gopher_repetition: GopherRepetitionConfig = GopherRepetitionConfig()
    """By how much a document repeats itself."""
    han: HanConfig = HanConfig(enabled=False)
    """For Chinese: length, line length, share of ideographs, repetition."""
    c4: C4Config = C4Config()
    """C4's rules on lines (they edit the text) and documents."""
    dclm: DclmConfig = DclmConfig()
    """RefinedWeb's line-wise corrections as DCLM has them."""
    fineweb: FineWebConfig = FineWebConfig()
    """FineWeb's rules on lines."""
    curator: CuratorConfig = CuratorConfig()
    """What NeMo Curator adds to Gopher and C4."""


def chinese() -> Profile:
    """Thresholds for Chinese, in characters.

    Repetition: FineWeb-2's for ``cmn_Hani`` (arXiv:2506.20920, configs/cmn_Hani.yml), whose word
    n-grams are taken at 1.6 characters a word. Length, line length, share of ideographs and
    13-gram repetition: ChineseWebText (arXiv:2311.01149, section 2.2).
    """
    return Profile(
        unit="character",
        gopher_quality=GopherQualityConfig(
            min_words=0,
            max_words=200_000,
            min_mean_word_length=1.0,
            max_mean_word_length=5.0,
            min_alphabetic_words=0.735,
            stop_words=tuple("的了是在和有不我他这个之以而其也为人中与"),
        ),
        gopher_repetition=GopherRepetitionConfig(
            max_duplicate_lines=0.287,
            max_top_ngram_chars={3: 0.256, 5: 0.201, 6: 0.171},
            max_duplicate_ngram_chars={
                **{8: 0.198, 10: 0.182, 11: 0.167},
                **{13: 0.154, 14: 0.14, 16: 0.127},
            },
        ),
        # The repetition rule above asks for less than ChineseWebText's half already.
        han=HanConfig(enabled=True, max_repeated_ngrams=1.0),
        fineweb=FineWebConfig(min_line_punctuation=0.106, max_newlines_per_word=0.178),
    )


def japanese() -> Profile:
    """Chinese repetition and character counting without what asks for ideographs or Chinese
    function words: a starting point, to be calibrated.
    """
    profile = chinese()
    profile.han = HanConfig(enabled=False)
    profile.gopher_quality.stop_words = tuple("のはをにがでとも")
    profile.gopher_quality.min_words = 200
    return profile


def _changed(values: dict[str, Any], changes: Any) -> Any:
    """A profile with what a recipe says of it; a whole profile stands for itself."""
    return _merged(values, changes) if isinstance(changes, dict) else changes


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Rules key by key; a threshold that is itself a mapping is replaced as a whole."""
    merged = dict(values)
    for rule, change in changes.items():
        inner = values.get(rule)
        inner = inner.model_dump() if isinstance(inner, BaseModel) else inner
        whole = isinstance(inner, dict) and isinstance(change, dict)
        merged[rule] = dict(inner or {}, **change) if whole else change
    return merged


class RulesConfig(Profile):
    """Heuristic filters: the profile of languages without one of their own, and the others."""

    not_a_document: NotADocumentConfig = NotADocumentConfig()
    """By file name, whatever the language."""
    code: CodeConfig = CodeConfig()
    """For sources that are program code, which no other rule judges."""
    languages: dict[str, Profile] = Field(default_factory=dict)
    """ISO 639-1 code -> its profile: what is named here changes the built-in profile of ``zh`` and
    ``ja``, and for any other language the profile above."""

    @model_validator(mode="before")
    @classmethod
    def _with_built_in(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("languages", {}), dict):
            named: dict[str, Any] = values.get("languages", {})
            above = {key: value for key, value in values.items() if key in Profile.model_fields}
            built_in = {"zh": chinese().model_dump(), "ja": japanese().model_dump()}
            changed = {
                code: _changed(built_in.get(code, above), profile)
                for code, profile in named.items()
            }
            return values | {"languages": built_in | changed}
        return values

    def profile(self, language: str) -> Profile:
        """The profile that judges a language."""
        return self.languages.get(language, self)
