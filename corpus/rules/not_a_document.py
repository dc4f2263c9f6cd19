"""Licences, change logs and lists of authors, by file name."""

import re

from corpus.rules.config import NotADocumentConfig
from corpus.rules.verdict import Rejection

_NAMES = {
    "license": r"licen[cs]es?|copying|notices?|third[-_]?party[-_\w]*|patents|eula|legal",
    "change_log": r"change[-_]?logs?|changes|history|news|release[-_ ]?notes|whats[-_ ]?new",
    "authors": r"authors|contributors|credits|thanks|maintainers|codeowners",
}
_PATTERNS = {
    reason: re.compile(rf"({names})([-_.][^/]*)?$", re.IGNORECASE)
    for reason, names in _NAMES.items()
}
_LICENSE_FOLDER = re.compile(r"(^|/)licen[cs]es?/", re.IGNORECASE)


def not_a_document(id_: str, config: NotADocumentConfig) -> Rejection | None:
    """Judge a document by its id, which ends with its file's relative name."""
    if not config.enabled:
        return None
    if _LICENSE_FOLDER.search(id_):
        return Rejection("license")
    name = id_.rsplit("/", 1)[-1]
    for reason, pattern in _PATTERNS.items():
        if pattern.match(name):
            return Rejection(reason)
    return None
