"""Memory that a disk takes as it is."""

import mmap
import random

import pytest
import torch

from trainer.parallel.aligned import aligned_empty

CPU = torch.device("cpu")


@pytest.mark.parametrize("largest", [10, 5000, 3_000_000])
def test_every_tensor_begins_with_a_page_and_overlaps_no_other(largest: int) -> None:
    shapes = [torch.Size([random.randint(1, largest)]) for _ in range(9)]
    shapes += [torch.Size([]), torch.Size([0]), torch.Size([3, random.randint(1, largest // 3)])]
    made = aligned_empty(shapes, CPU)
    for number, (values, shape) in enumerate(zip(made, shapes, strict=True)):
        assert (values.shape, values.dtype) == (shape, torch.float32)
        assert values.is_contiguous()
        assert values.numel() == 0 or values.data_ptr() % mmap.PAGESIZE == 0
        values.fill_(number)
    assert all(torch.all(values == number) for number, values in enumerate(made))


def test_a_few_small_ones_take_little() -> None:
    made = aligned_empty([torch.Size([5])] * 4, CPU)
    assert made[0].untyped_storage().nbytes() <= 5 * mmap.PAGESIZE
