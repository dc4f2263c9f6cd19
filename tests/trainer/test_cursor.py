import random

import pytest
from pydantic import ValidationError

from trainer.config import PretrainConfig
from trainer.cursor import Cursor


def test_batches_are_what_is_left_of_all_samples_in_order():
    """Against striking the samples out one by one."""
    for _ in range(50):
        ranges = tuple(
            (random.randrange(60), random.randrange(1, 9)) for _ in range(random.randrange(4))
        )
        gone = {k for first, count in ranges for k in range(first, first + count)}
        wanted = [k for k in range(200) if k not in gone]
        size, cursor, found = random.randint(1, 7), Cursor(skipped=ranges), []
        for step in range(1, 9):
            taken, cursor = cursor.next_batch(size)
            found += taken
            assert cursor.step == step
            assert cursor.samples == found[-1] + 1
        assert found == wanted[: len(found)]


def test_a_range_decided_later_holds_from_there_on():
    cursor = Cursor(2, 10).skipping(8, 4)
    assert cursor.next_batch(3)[0] == [12, 13, 14]


@pytest.mark.parametrize("skipped", [[-5, 3], [0, -3], [7, 0]])
def test_ranges_that_are_none_are_refused(skipped: list[int]):
    with pytest.raises(ValidationError, match="skip_samples"):
        PretrainConfig.model_validate({"skip_samples": [skipped]})
