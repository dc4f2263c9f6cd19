"""What the scheduler plans with: sequences, chunks of them, and steps."""

from dataclasses import dataclass, field

from serving.engine.blocks import BlockTable


@dataclass(eq=False)
class Sequence:
    """One request as the scheduler sees it."""

    id: str
    tokens: list[int]
    """Prompt and output so far."""
    prompt_length: int
    priority: int = 0
    """Smaller runs first."""
    arrival: int = 0
    table: BlockTable = field(default_factory=BlockTable)
    computed: int = 0
    """Tokens whose keys and values are in the cache."""
    prefill_end: int = 0
    """Tokens to compute in chunks; those after it one by one."""
    cacheable: bool = True
    """Whether its blocks may be found by others: False once the weights have changed."""
    preemptions: int = 0
    adapter: str | None = None
    """LoRA adapter that it runs with."""
    root: int = 0
    """What its blocks begin from: only sequences with the same adapter share any."""

    @property
    def key(self) -> tuple[int, int]:
        """Its place in line."""
        return self.priority, self.arrival

    @property
    def generated(self) -> int:
        """Tokens of output so far."""
        return len(self.tokens) - self.prompt_length


@dataclass(frozen=True)
class Chunk:
    """Tokens ``start`` to ``start + count`` of a sequence, to compute in one step."""

    sequence: Sequence
    start: int
    count: int


@dataclass
class Plan:
    """One step."""

    decode: list[Chunk] = field(default_factory=list)
    """One token each."""
    prefill: list[Chunk] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Tokens the step computes."""
        return sum(chunk.count for chunk in (*self.decode, *self.prefill))


@dataclass(frozen=True)
class Limits:
    """What a step may hold."""

    max_running: int
    """Sequences that hold blocks at once."""
    chunk: int
    """Prompt tokens per step, and per chunk of one prompt; a multiple of the block size."""
    fixed_chunks: bool
    """Chunks of a prompt always begin at multiples of ``chunk``, and a preempted sequence
    computes its output again token by token: the same shapes whatever company it has."""
