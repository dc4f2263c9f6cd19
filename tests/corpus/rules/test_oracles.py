from collections import Counter
from pathlib import Path

import pytest

from benchmarks.corpus.oracles.outcome import AGREE, DIFFER, NOT_OURS, outcomes


@pytest.mark.data
def test_all_cases_that_define_the_same_rule_agree(data_dir: Path) -> None:
    found = outcomes(data_dir / "oracles" / "filter_cases.jsonl.gz")
    assert [case for case in found if case.status == DIFFER] == []
    assert all(case.why for case in found if case.status == NOT_OURS)
    counts = Counter(case.status for case in found)
    assert counts[AGREE] >= 110
    assert {case.project for case in found if case.status == AGREE} == {
        *("datatrove", "dclm", "NeMo-Curator"),
    }
