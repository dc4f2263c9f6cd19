"""Who runs in the next step, over which blocks: plain Python over integers.

Running sequences decode first, then prompts go on in chunks, then waiting ones are admitted,
by priority and then by arrival. Where blocks run out, the last in that order is preempted:
it gives up its blocks, waits again, and computes its keys and values anew.
"""

import bisect

from serving.engine.blocks import BlockManager, BlockTable, OutOfBlocks
from serving.engine.plan import Chunk, Limits, Plan, Sequence


class Scheduler:
    """Plans steps over the blocks of a manager."""

    def __init__(self, blocks: BlockManager, limits: Limits) -> None:
        if limits.chunk % blocks.block_size:
            raise ValueError(
                f"chunk {limits.chunk} is no multiple of the block size {blocks.block_size}"
            )
        self.blocks = blocks
        self.limits = limits
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        """Both in line order."""
        self.contexts: list[Sequence] = []
        """Contexts to score that wait for blocks, in line order."""
        self.preemptions = 0
        self.weights = 0
        """How often the weights have changed."""
        self._arrivals = 0

    @property
    def has_work(self) -> bool:
        """Whether any sequence waits or runs."""
        return bool(self.waiting or self.running)

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence behind those of its priority.

        Raises:
            OutOfBlocks: its prompt can never fit the cache.
        """
        # The prompt and the first token that is chosen from it.
        self._line_up(sequence, self.waiting, len(sequence.tokens) + 1)

    def add_context(self, context: Sequence) -> None:
        """Queue a context to score: it needs blocks but no slot.

        Nobody behind it is admitted before it has left ``contexts``.

        Raises:
            OutOfBlocks: it can never fit the cache.
        """
        self._line_up(context, self.contexts, len(context.tokens))

    def is_next(self, context: Sequence) -> bool:
        """Whether nobody before a queued context waits for blocks."""
        slots = self.limits.max_running - len(self.running)
        ahead = slots > 0 and self.waiting and self.waiting[0].key < context.key
        return self.contexts[0] is context and not ahead

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, waiting or running; its blocks are free for the next step."""
        (self.running if sequence in self.running else self.waiting).remove(sequence)
        self.blocks.release(sequence.table)

    def plan(self) -> Plan:
        """Choose the next step and take the blocks it needs."""
        plan = Plan()
        self._make_way()
        self._decode(plan)
        self._continue_prompts(plan)
        self._admit(plan)
        return plan

    def done(self, chunk: Chunk) -> bool:
        """Note that a chunk was computed; True where it asks for the next token."""
        sequence = chunk.sequence
        sequence.computed = chunk.start + chunk.count
        if sequence.cacheable:
            known = sequence.computed
            if self.limits.fixed_chunks:
                known = min(known, sequence.prompt_length)
            self.publish(sequence.table, sequence.tokens, known)
        return sequence.computed == len(sequence.tokens)

    def known(self, tokens: list[int], end: int, root: int = 0) -> tuple[BlockTable, int]:
        """Take the blocks known of ``tokens[:end]``, of which the last is always computed.

        Returns:
            Their table, and the tokens they hold.
        """
        size = self.blocks.block_size
        grain = self.limits.chunk if self.limits.fixed_chunks else size
        table = self.blocks.find(tokens, (end - 1) // grain * grain, root)
        extra = len(table.blocks) % (grain // size)
        if extra:
            self.blocks.release(table.split(len(table.blocks) - extra))
        return table, len(table.blocks) * size

    def publish(self, table: BlockTable, tokens: list[int], computed: int) -> None:
        """Make known what was computed in whole pieces of the grain."""
        if self.limits.fixed_chunks:
            computed -= computed % self.limits.chunk
        self.blocks.publish(table, tokens, computed)

    def weights_changed(self) -> None:
        """Nothing computed so far is shared any more."""
        self.weights += 1
        self.blocks.forget()
        for sequence in self.running:
            sequence.cacheable = False

    def _line_up(self, sequence: Sequence, line: list[Sequence], tokens: int) -> None:
        needed = self.blocks.blocks_for(tokens)
        if needed > self.blocks.usable:
            raise OutOfBlocks(
                f"a prompt of {len(sequence.tokens)} tokens needs {needed} cache blocks, "
                f"there are {self.blocks.usable}"
            )
        self._arrivals += 1
        sequence.arrival = self._arrivals
        bisect.insort(line, sequence, key=_key)

    def _make_way(self) -> None:
        """Preempt the last runner for a waiting sequence of a better priority."""
        while self.waiting and self.running:
            head, last = self.waiting[0], self.running[-1]
            full = len(self.running) >= self.limits.max_running
            short = self.blocks.free < self.blocks.blocks_for(len(head.tokens) + 1)
            if head.priority >= last.priority or not (full or short):
                return
            self._preempt(last)

    def _decode(self, plan: Plan) -> None:
        for sequence in list(self.running):
            if sequence.computed < sequence.prefill_end or sequence not in self.running:
                continue
            if self._grow(sequence):
                plan.decode.append(Chunk(sequence, sequence.computed, 1))

    def _grow(self, sequence: Sequence) -> bool:
        """Make room for one more token; False where the sequence itself had to give way."""
        while True:
            try:
                self.blocks.grow(sequence.table, sequence.computed + 1)
                return True
            except OutOfBlocks:
                # Sequences are served in line order: the last has no place in this plan yet.
                last = self.running[-1]
                self._preempt(last)
                if last is sequence:
                    return False

    def _continue_prompts(self, plan: Plan) -> None:
        for sequence in self.running:
            if sequence.computed < sequence.prefill_end:
                self._take_chunk(plan, sequence)

    def _admit(self, plan: Plan) -> None:
        while self.waiting and len(self.running) < self.limits.max_running:
            head = self.waiting[0]
            if self.contexts and self.contexts[0].key < head.key:
                return
            if self._budget(plan) <= 0 or self._soon_known(plan, head) or not self._start(head):
                return
            sequence = self.waiting.pop(0)
            bisect.insort(self.running, sequence, key=_key)
            self._take_chunk(plan, sequence)

    def _soon_known(self, plan: Plan, head: Sequence) -> bool:
        """Whether a prompt of this step begins with a block of ``head``'s that nobody knows yet.

        After the step ``head`` finds it, and need not compute it a second time.
        """
        if self.limits.fixed_chunks:
            return False
        size = self.blocks.block_size
        for chunk in plan.prefill:
            other = chunk.sequence
            end = (chunk.start // size + 1) * size
            whole = end <= chunk.start + chunk.count and end < len(head.tokens)
            alike = other.cacheable and other.root == head.root
            if whole and alike and head.tokens[:end] == other.tokens[:end]:
                return True
        return False

    def _start(self, sequence: Sequence) -> bool:
        """Give a waiting sequence the blocks of its prompt, known ones where there are any."""
        end = sequence.prompt_length if self.limits.fixed_chunks else len(sequence.tokens)
        table, found = self.known(sequence.tokens, end, sequence.root)
        # Every runner may need a block before any ends.
        spare = len(self.running)
        missing = self.blocks.blocks_for(end + 1) - len(table.blocks)
        if missing + spare > self.blocks.free:
            self.blocks.release(table)
            return False
        self.blocks.grow(table, end)
        sequence.table, sequence.computed, sequence.prefill_end = table, found, end
        self.blocks.hits += found
        return True

    def _take_chunk(self, plan: Plan, sequence: Sequence) -> None:
        left = sequence.prefill_end - sequence.computed
        count = min(left, self.limits.chunk)
        budget = self._budget(plan)
        if self.limits.fixed_chunks:
            if plan.prefill and count > budget:
                return
        else:
            count = min(count, budget)
        if count > 0:
            plan.prefill.append(Chunk(sequence, sequence.computed, count))

    def _budget(self, plan: Plan) -> int:
        """Prompt tokens the step may still take."""
        return self.limits.chunk - sum(chunk.count for chunk in plan.prefill)

    def _preempt(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self.blocks.release(sequence.table)
        sequence.computed = 0
        sequence.cacheable = True
        sequence.preemptions += 1
        self.preemptions += 1
        bisect.insort(self.waiting, sequence, key=_key)


def _key(sequence: Sequence) -> tuple[int, int]:
    return sequence.key
