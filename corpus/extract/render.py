"""Blocks as plain text: items get a dash, table rows bars, code a fence."""

from collections.abc import Sequence

from corpus.extract.blocks import Block


def render(blocks: Sequence[Block]) -> str:
    """The blocks' text, one per line, code between fences, a table row on one line."""
    lines: list[str] = []
    previous: Block | None = None
    for block in blocks:
        same_row = previous is not None and previous.row == block.row >= 0
        if same_row and block.tag != "pre" and previous is not None and previous.tag != "pre":
            lines[-1] += f" | {block.text}"
        else:
            lines.append(_line(block, previous))
        previous = block
    return "\n".join(lines)


def _line(block: Block, previous: Block | None) -> str:
    if block.tag == "pre":
        return f"```\n{block.text}\n```" if "\n" in block.text else f"`{block.text}`"
    if block.tag == "li":
        return f"{'  ' * min(max(block.depth - 1, 0), 5)}- {block.text}"
    return block.text
