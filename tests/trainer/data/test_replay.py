import random

import numpy as np
import pytest

from trainer.data.replay import ReplayedRows, replayed_rows
from trainer.data.rows import Row


class Numbered:
    """Rows that say where they come from."""

    row_length = 4

    def __init__(self, sign: int) -> None:
        self.sign = sign

    def row(self, k: int) -> Row:
        values = np.full(self.row_length, self.sign * (k + 1))
        return Row(values, values, np.zeros(self.row_length, np.int32))

    def validation(self) -> dict[str, list[Row]]:
        return {"docs": [self.row(7)]}


def order(mixed: ReplayedRows, numbers: list[int]) -> list[int]:
    return [int(mixed.row(k).inputs[0]) for k in numbers]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 1 / 3, 0.9])
def test_both_sources_go_on_in_their_own_order(share: float):
    count = random.randrange(200, 2000)
    found = order(ReplayedRows(Numbered(1), Numbered(-1), share), list(range(count)))
    new, old = [n for n in found if n > 0], [-n for n in found if n < 0]
    assert new == list(range(1, len(new) + 1))
    assert old == list(range(1, len(old) + 1))
    assert len(old) == replayed_rows(count, share) == pytest.approx(share * count, abs=1)
    for start in range(0, count - 20, 7):  # and evenly so
        window = sum(n < 0 for n in found[start : start + 20])
        assert window == pytest.approx(20 * share, abs=1.001)


def test_the_order_is_pure():
    straight = order(ReplayedRows(Numbered(1), Numbered(-1), 0.1), list(range(300)))
    shuffled = random.sample(range(300), 300)
    again = order(ReplayedRows(Numbered(1), Numbered(-1), 0.1), shuffled)
    assert again == [straight[k] for k in shuffled]


def test_both_are_validated():
    found = ReplayedRows(Numbered(1), Numbered(-1), 0.1).validation()
    assert {name: int(rows[0].inputs[0]) for name, rows in found.items()} == {
        "docs": 8,
        "replay/docs": -8,
    }
