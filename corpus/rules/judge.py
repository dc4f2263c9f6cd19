"""Asks the rules in order and says which one rejected a document."""

from corpus.rules.c4 import c4
from corpus.rules.code import code
from corpus.rules.config import RulesConfig
from corpus.rules.curator import curator
from corpus.rules.dclm import dclm
from corpus.rules.fineweb import fineweb
from corpus.rules.gopher_quality import gopher_quality
from corpus.rules.gopher_repetition import gopher_repetition
from corpus.rules.han import han
from corpus.rules.not_a_document import not_a_document
from corpus.rules.statistics import Statistics
from corpus.rules.verdict import Rejection


def judge(
    record_id: str, source: str, text: str, language: str, config: RulesConfig
) -> tuple[str, Rejection] | None:
    """(rule, rejection) of the first rule that rejects, or None where the document stays.

    Args:
        record_id: ends with the file's relative name, where the record is a file.
        source: the record's source; some rules spare some sources.
        text: cleaned and normalised.
        language: ISO 639-1 code; chooses the profile.
        config: the thresholds.
    """
    rejection = not_a_document(record_id, config.not_a_document)
    if rejection:
        return "not_a_document", rejection
    profile = config.profile(language)
    stats = Statistics(text, profile.unit)
    if source in config.code.sources:
        rejection = code(stats, config.code)
        return ("code", rejection) if rejection else None
    rules = (
        ("han", lambda: han(stats, profile.han)),
        ("gopher_quality", lambda: gopher_quality(stats, profile.gopher_quality)),
        ("fineweb", lambda: fineweb(stats, profile.fineweb)),
        ("c4", lambda: c4(stats, profile.c4)),
        ("dclm", lambda: dclm(stats, profile.dclm)),
        ("curator", lambda: curator(stats, profile.curator)),
        ("gopher_repetition", lambda: gopher_repetition(stats, source, profile.gopher_repetition)),
    )
    for name, rule in rules:
        rejection = rule()
        if rejection:
            return name, rejection
    return None
