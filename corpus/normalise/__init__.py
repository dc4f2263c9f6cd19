"""One spelling for text."""

from corpus.normalise.text import normalise

__all__ = ["normalise"]
