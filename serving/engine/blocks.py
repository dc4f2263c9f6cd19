"""Which cache block holds which tokens: plain Python over integers.

The cache is cut into blocks of ``block_size`` tokens. A full block whose content is known
stays findable after its last user has gone, until its place is needed: a later prompt with
the same beginning takes it instead of computing it again. A block's content is identified
by its tokens and by the content of the block before it (a chain), so equal content means an
equal prefix from the first token on. The table that finds it compares the tokens themselves
after their hash, so two prefixes with equal hashes are never taken for one another.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

NULL_BLOCK = 0
"""Never handed out: padding is read from and written to it."""
_ROOT = 0
"""Content in front of the first block."""

Key = tuple[int, tuple[int, ...]]
"""(content of the block before, tokens of the block)."""


class OutOfBlocks(Exception):
    """Fewer blocks are free than were asked for; nothing was taken."""


@dataclass
class BlockTable:
    """The blocks of one sequence, in order."""

    blocks: list[int] = field(default_factory=list)
    contents: list[int] = field(default_factory=list)
    """Content of the first blocks, as far as it has been published or found."""
    root: int = _ROOT
    """Content in front of the first block; see ``BlockManager.new_root``."""

    def split(self, count: int) -> "BlockTable":
        """Keep the first ``count`` blocks; the others are returned."""
        rest = BlockTable(self.blocks[count:], self.contents[count:], self.root)
        del self.blocks[count:], self.contents[count:]
        return rest


class BlockManager:
    """Counts who uses which block, and remembers what full blocks hold."""

    def __init__(self, num_blocks: int, block_size: int) -> None:
        if num_blocks < 2:
            raise ValueError(f"{num_blocks} cache blocks; at least 2 are needed, one is padding")
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.hits = 0
        """Tokens that sequences found instead of computing, so far."""
        self._users = [0] * num_blocks
        self._empty = list(range(num_blocks - 1, NULL_BLOCK, -1))
        self._idle: OrderedDict[int, None] = OrderedDict()
        """Blocks without users that still hold known content; the longest idle first."""
        self._found: dict[Key, tuple[int, int]] = {}
        """Key -> (block, content)."""
        self._keys: dict[int, Key] = {}
        self._next_content = _ROOT + 1

    @property
    def usable(self) -> int:
        """Blocks there are in all, padding left out."""
        return self.num_blocks - 1

    @property
    def free(self) -> int:
        """Blocks that can be handed out."""
        return len(self._empty) + len(self._idle)

    @property
    def in_use(self) -> int:
        """Blocks that some table holds."""
        return self.usable - self.free

    def blocks_for(self, tokens: int) -> int:
        """Blocks that ``tokens`` tokens fill or begin."""
        return -(-tokens // self.block_size)

    def new_root(self) -> int:
        """A content that nothing begins from yet: what is computed otherwise, with an adapter,
        is never found by those who begin from another.
        """
        self._next_content += 1
        return self._next_content - 1

    def find(self, tokens: Sequence[int], limit: int, root: int = _ROOT) -> BlockTable:
        """Take the known blocks that hold the beginning of ``tokens``.

        Args:
            tokens: a sequence from its first token on.
            limit: tokens that may be found at most; rounded down to whole blocks.
            root: what they begin from.

        Returns:
            A table of the blocks found, which now have one user more.
        """
        table = BlockTable(root=root)
        content = root
        for start in range(0, limit - self.block_size + 1, self.block_size):
            key = (content, tuple(tokens[start : start + self.block_size]))
            if key not in self._found:
                break
            block, content = self._found[key]
            table.blocks.append(block)
            table.contents.append(content)
            self._use(block)
        return table

    def grow(self, table: BlockTable, tokens: int) -> None:
        """Add blocks until the table holds ``tokens`` tokens.

        Raises:
            OutOfBlocks: too few are free; the table is as it was.
        """
        missing = self.blocks_for(tokens) - len(table.blocks)
        if missing > self.free:
            raise OutOfBlocks(f"{missing} blocks are needed and {self.free} are free")
        for _ in range(missing):
            block = self._take()
            self._users[block] = 1
            table.blocks.append(block)

    def publish(self, table: BlockTable, tokens: Sequence[int], computed: int) -> None:
        """Make the full blocks of the first ``computed`` tokens findable."""
        size = self.block_size
        for index in range(len(table.contents), computed // size):
            before = table.contents[-1] if table.contents else table.root
            key = (before, tuple(tokens[index * size : (index + 1) * size]))
            known = self._found.get(key)
            if known is None:
                known = (table.blocks[index], self._next_content)
                self._next_content += 1
                self._found[key] = known
                self._keys[known[0]] = key
            # Where another block holds the same already, this one stays private.
            table.contents.append(known[1])

    def release(self, table: BlockTable) -> None:
        """Let go of all blocks of a table, which is empty afterwards."""
        # The last block first: of an idle chain, the end is given away before the beginning.
        for block in reversed(table.blocks):
            self._users[block] -= 1
            if self._users[block]:
                continue
            if block in self._keys:
                self._idle[block] = None
            else:
                self._empty.append(block)
        table.blocks, table.contents = [], []

    def forget(self) -> None:
        """Drop all known content (the weights have changed)."""
        self._found.clear()
        self._keys.clear()
        self._empty += self._idle
        self._idle.clear()

    def _use(self, block: int) -> None:
        self._idle.pop(block, None)
        self._users[block] += 1

    def _take(self) -> int:
        if self._empty:
            return self._empty.pop()
        block, _ = self._idle.popitem(last=False)
        del self._found[self._keys.pop(block)]
        return block
