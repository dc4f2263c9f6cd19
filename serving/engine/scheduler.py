"""Which sequence holds which cache slot: plain Python over integers.

First come, first served. A sequence waits until a slot is free, then keeps it until it
ends; sequences join and leave between any two steps.
"""

import heapq
from collections import deque
from dataclasses import dataclass


@dataclass
class Sequence:
    """One request as the scheduler sees it."""

    id: str
    prompt_length: int
    max_tokens: int
    slot: int = -1
    """Cache slot it holds; -1 while it waits."""
    generated: int = 0

    @property
    def length(self) -> int:
        """Tokens of prompt and output so far."""
        return self.prompt_length + self.generated


class Scheduler:
    """Hands out ``num_slots`` slots."""

    def __init__(self, num_slots: int) -> None:
        self.num_slots = num_slots
        self.waiting: deque[Sequence] = deque()
        self.running: dict[int, Sequence] = {}
        self._free = list(range(num_slots))

    @property
    def has_work(self) -> bool:
        """Whether any sequence waits or runs."""
        return bool(self.waiting or self.running)

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence behind those that wait."""
        self.waiting.append(sequence)

    def admit(self) -> list[Sequence]:
        """Give free slots to waiting sequences, in order; returns those that got one."""
        admitted = []
        while self.waiting and self._free:
            sequence = self.waiting.popleft()
            sequence.slot = heapq.heappop(self._free)
            self.running[sequence.slot] = sequence
            admitted.append(sequence)
        return admitted

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, waiting or running; its slot is free for the next step."""
        if sequence.slot < 0:
            self.waiting.remove(sequence)
            return
        del self.running[sequence.slot]
        heapq.heappush(self._free, sequence.slot)
        sequence.slot = -1
