"""Which language a text is in."""

from corpus.language.identify import Identified, identify, refusal

__all__ = ["Identified", "identify", "refusal"]
