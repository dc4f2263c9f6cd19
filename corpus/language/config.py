"""Config of language identification."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from clusters.config import StageConfig

DEFAULT_MIN_SCORE = 0.5


def _expand(value: Any) -> Any:
    """A list of languages stands for the same lowest score for each."""
    if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return dict.fromkeys(value, DEFAULT_MIN_SCORE)
    return value


class LanguageConfig(StageConfig):
    """Which languages are kept."""

    keep: Annotated[dict[str, Annotated[float, Field(ge=0, le=1)]], BeforeValidator(_expand)] = (
        Field(default={"en": DEFAULT_MIN_SCORE})
    )
    """Lowest score per kept language, by ISO 639-1 code: ``{en: 0.65, zh: 0.5}``; a list,
    ``[en, zh]``, asks 0.5 of each. ``zh`` is Chinese in either script, ``nb`` Bokmål. Empty
    keeps every language. The score is the share of the text that is in the language, halved
    where the identifier calls its answer unreliable."""
    min_share: float = Field(default=0.5, ge=0, le=1)
    """Documents are rejected as ``mixed_languages`` where less than this share of the text
    whose language is known is in their first language; 0 keeps them."""
    windows: int = Field(default=4, ge=1)
    """Of a long document this many pieces are read, evenly from beginning to end."""
    window_chars: int = Field(default=1000, ge=50)
    """Length of such a piece."""
