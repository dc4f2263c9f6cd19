import random
from pathlib import Path

import pytest

from corpus.errors import CorpusError
from corpus.funnel import build_ledger, check_bad_share
from corpus.ledger import STEPS, Ledger, Tally, read_ledger


def _random_tally(rng: random.Random) -> tuple[Tally, dict[str, int]]:
    """Documents that walk the funnel until a step rejects them, and how many each lost."""
    tally = Tally()
    lost = dict.fromkeys([*STEPS, "kept"], 0)
    for _ in range(rng.randint(50, 100)):
        source, size = rng.choice("ab"), rng.randint(1, 99)
        end = rng.choice([*STEPS, "kept", "kept"])
        for step in STEPS:
            if step == end:
                tally.add(step, rng.choice(["one", "other"]), source, "en", size)
                break
            tally.add(step, "", source, "en", size)
        else:
            tally.add("kept", rng.choice(["train", "validation"]), source, "en", size)
        lost[end] += 1
    return tally, lost


def test_every_document_is_accounted_for_at_every_step(tmp_path: Path) -> None:
    tally, lost = _random_tally(random.Random())
    ledger = build_ledger(tally, [])
    left = sum(lost.values())
    for step in ledger.steps:
        assert step.entered.documents == left
        assert sum(a.documents for a in step.rejected.values()) == lost[step.name]
        left -= lost[step.name]
        assert step.passed.documents == left
        assert sum(s.entered.documents for s in step.sources.values()) == step.entered.documents
        assert sum(s.passed.bytes for s in step.languages.values()) == step.passed.bytes
    assert ledger.kept.total.documents == lost["kept"]
    assert sum(a.bytes for a in ledger.kept.splits.values()) == ledger.kept.total.bytes
    path = tmp_path / "ledger.json"
    path.write_text(ledger.model_dump_json())
    assert read_ledger(path) == ledger
    assert Ledger.model_validate_json(path.read_text()).steps[0].name == "read"


def test_tallies_add_up_in_any_order() -> None:
    rng = random.Random()
    parts = [_random_tally(rng)[0].rows() for _ in range(5)]
    one, other = Tally(), Tally()
    for rows in parts:
        one.merge(rows)
    for rows in reversed(parts):
        other.merge(rows)
    assert one.rows() == other.rows()


def test_too_many_bad_records_stop_with_the_reasons() -> None:
    tally = Tally()
    tally.add("read", "", "web", "und", 10, count=7)
    tally.add("read", "bad_json", "web", "und", 0, count=3)
    check_bad_share(tally, 0.3)
    with pytest.raises(CorpusError, match=r"3 of 10 records.*read\.bad_json: 3.*max_bad_share"):
        check_bad_share(tally, 0.29)


def test_an_empty_result_is_an_error_that_says_where_it_went() -> None:
    tally = Tally()
    tally.add("read", "", "web", "und", 10)
    tally.add("normalise", "empty", "web", "und", 10)
    with pytest.raises(CorpusError, match=r"normalise\.empty: 1"):
        build_ledger(tally, [])
