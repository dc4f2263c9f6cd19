"""The fall of the held-out loss, by hand."""

import pytest

from evaluation.report.training import Curves


def test_the_fall_is_weighted_by_tokens() -> None:
    curves = Curves("pretrain", validation={"a": [(0, 8.0), (9, 4.0)], "b": [(0, 6.0), (9, 5.0)]})
    fall = curves.fall({"a": 300, "b": 100, "unseen": 7})
    assert fall is not None
    assert [row.share for row in fall.domains] == [pytest.approx(1 / 2), pytest.approx(1 / 6)]
    assert (fall.overall.first, fall.overall.last) == (7.5, 4.25)
    assert fall.overall.tokens == 400
    assert fall.overall.share == pytest.approx(1 - 4.25 / 7.5)


def test_a_stage_validated_on_something_else_has_no_such_fall() -> None:
    curves = Curves("sft", validation={"arithmetic": [(0, 8.0), (9, 4.0)], "b": [(0, 6.0)]})
    assert curves.fall({"b": 100}) is None
    assert Curves("sft").fall({"b": 100}) is None
