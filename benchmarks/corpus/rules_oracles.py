"""How many of the other projects' own expectations our rules of the same definition meet.

python -m benchmarks.corpus.rules_oracles
"""

import os
import sys
from collections import Counter
from pathlib import Path

from benchmarks.corpus.oracles.outcome import AGREE, DIFFER, NOT_OURS, outcomes
from benchmarks.report import keep


def main() -> None:
    folder = os.environ.get("INKSTONE_DATA") or sys.exit("INKSTONE_DATA names no folder of data")
    found = outcomes(Path(folder) / "oracles" / "filter_cases.jsonl.gz")
    counts = Counter(case.status for case in found)
    ours = counts[AGREE] + counts[DIFFER]
    left_out = Counter((c.project, c.rule, c.why) for c in found if c.status == NOT_OURS)
    keep(
        "corpus-rules-oracles",
        what=f"cases of datatrove, NeMo Curator and DCLM for rules that we define ({ours} of "
        f"{len(found)}; the rest is listed with why)",
        ours=counts[AGREE],
        unit="cases agree",
        peer="the projects' own expectations",
        theirs=ours,
        ratio=round(counts[AGREE] / max(ours, 1), 3),
        goal="all agree",
        met=counts[DIFFER] == 0 and counts[AGREE] > 0,
        agree=counts[AGREE],
        differ=[case._asdict() for case in found if case.status == DIFFER],
        not_ours=[
            {"project": project, "rule": rule, "cases": cases, "why": why}
            for (project, rule, why), cases in sorted(left_out.items())
        ],
    )


if __name__ == "__main__":
    main()
