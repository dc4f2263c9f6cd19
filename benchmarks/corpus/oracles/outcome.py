"""Puts every case to our rules."""

import gzip
import json
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.corpus.oracles import dclm, others
from benchmarks.corpus.oracles.case import NotOursError, parse

AGREE, DIFFER, NOT_OURS = "agree", "differ", "not_ours"


class Outcome(NamedTuple):
    """What came of a case."""

    status: str
    project: str
    rule: str
    why: str
    given: str


def outcomes(path: Path) -> list[Outcome]:
    """One outcome per case of ``filter_cases.jsonl.gz``, in file order."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [outcome(json.loads(line)) for line in file]


def outcome(case: dict[str, Any]) -> Outcome:
    """Whether our rule of the case's definition answers as the case expects."""
    project, call = case["source"], parse(case)
    status, why = NOT_OURS, ""
    answers = dclm.ANSWERS if project == "dclm" else others.ANSWERS
    if project == "data-juicer":
        why = others.data_juicer_reason(call.name)
    elif call.name in answers:
        try:
            status = AGREE if answers[call.name](call, case["input"], case["expected"]) else DIFFER
        except NotOursError as reason:
            why = str(reason)
    else:
        why = (dclm.NOT_OURS | others.NOT_OURS).get(call.name, "")
        status = NOT_OURS if why else DIFFER
    given = json.dumps(case["input"], ensure_ascii=False)
    return Outcome(status, project, call.name or str(case["test"]), why, given[:200])
