"""Asks the rules in order and says which one rejected a document."""

from corpus.rules.config import RulesConfig
from corpus.rules.gopher_quality import gopher_quality
from corpus.rules.gopher_repetition import gopher_repetition
from corpus.rules.not_a_document import not_a_document
from corpus.rules.verdict import Rejection


def judge(id_: str, source: str, text: str, config: RulesConfig) -> tuple[str, Rejection] | None:
    """(rule, rejection) of the first rule that rejects, or None where the document stays."""
    rejection = not_a_document(id_, config.not_a_document)
    if rejection:
        return "not_a_document", rejection
    rejection = gopher_quality(text, config.gopher_quality)
    if rejection:
        return "gopher_quality", rejection
    rejection = gopher_repetition(text, source, config.gopher_repetition)
    return ("gopher_repetition", rejection) if rejection else None
