"""Presidio's pattern recognisers alone (no language model) over a JSON list of texts.

Run in the peers' environment: presidio_spans.py TEXTS.json SPANS.json
"""

import json
import sys
import time
from pathlib import Path

import spacy
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    EmailRecognizer,
    IbanRecognizer,
    IpRecognizer,
    PhoneRecognizer,
    UsSsnRecognizer,
)

RECOGNISERS = (
    CreditCardRecognizer,
    EmailRecognizer,
    IbanRecognizer,
    IpRecognizer,
    PhoneRecognizer,
    UsSsnRecognizer,
)


def engine() -> AnalyzerEngine:
    """An analyzer whose tokens come from a blank pipeline: patterns, checks and context words."""
    nlp = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
    nlp.nlp = {"en": spacy.blank("en")}
    registry = RecognizerRegistry(recognizers=[recogniser() for recogniser in RECOGNISERS])
    return AnalyzerEngine(registry=registry, nlp_engine=nlp, supported_languages=["en"])


def main() -> None:
    """Write [start, end, type, score] of each text's spans."""
    texts = json.loads(Path(sys.argv[1]).read_text())
    analyzer = engine()
    analyzer.analyze("warm up a@b.org", language="en")
    started = time.perf_counter()
    spans = [
        [[r.start, r.end, r.entity_type, r.score] for r in analyzer.analyze(text, language="en")]
        for text in texts
    ]
    seconds = time.perf_counter() - started
    Path(sys.argv[2]).write_text(json.dumps(spans))
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
