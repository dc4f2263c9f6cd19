"""The data state of a run: a sample number and the ranges that are left out."""

from dataclasses import dataclass, replace

Ranges = tuple[tuple[int, int], ...]
"""(first sample, count), in the order in which they were decided."""


@dataclass(frozen=True)
class Cursor:
    """Where a run stands: pure in the steps taken and the skipped ranges."""

    step: int = 0
    """Optimisation steps taken."""
    samples: int = 0
    """The next sample to look at."""
    skipped: Ranges = ()

    def next_batch(self, size: int) -> tuple[list[int], "Cursor"]:
        """The next ``size`` samples that are not skipped, and the cursor after them."""
        taken: list[int] = []
        k = self.samples
        while len(taken) < size:
            end = max((first + n for first, n in self.skipped if first <= k < first + n), default=k)
            if end > k:
                k = end
                continue
            taken.append(k)
            k += 1
        return taken, replace(self, step=self.step + 1, samples=k)

    def skipping(self, first: int, count: int) -> "Cursor":
        """The same place, with one more range left out."""
        return replace(self, skipped=(*self.skipped, (first, count)))
