"""The careful extractor, for pages of which the fast one is not sure: trafilatura."""

from typing import Any


def careful_text(root: Any) -> str:
    """Main text by trafilatura, with its fallbacks; empty where it finds none.

    Reads the tree and spoils it. Its deduplication stays off: it would remember other pages.
    """
    from trafilatura import extract

    text = extract(
        root,
        include_comments=False,
        include_tables=True,
        deduplicate=False,
        with_metadata=False,
    )
    return text or ""
