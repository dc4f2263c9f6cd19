"""Main content of an HTML page as plain text."""

from corpus.extract.config import ExtractConfig
from corpus.extract.page import extract_page

_TEXT_ONLY = ExtractConfig(metadata=False)


def main_text(page: bytes) -> str:
    """The page's main content as plain text, without navigation and comments."""
    return extract_page(page, _TEXT_ONLY).text
