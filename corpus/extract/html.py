"""Main content of an HTML page, by resiliparse."""

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding
from resiliparse.parse.html import HTMLTree


def main_text(page: bytes) -> str:
    """The page's main content as plain text, without navigation and comments.

    Raises:
        ValueError: the page cannot be parsed.
    """
    tree = HTMLTree.parse_from_bytes(page, detect_encoding(page) or "utf-8")
    return extract_plain_text(tree, main_content=True, alt_texts=False, preserve_formatting=True)
