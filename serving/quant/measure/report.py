"""What was measured as a table, as JSON, and as advice."""

from dataclasses import asdict
from typing import Any

from rich.table import Table

from serving.quant.measure.run import Measured
from serving.quant.measure.speed import BATCHES

_MIB = 1 << 20
_SLOWER = 0.95
"""Speeds within five percent are called the same."""


def table_of(measured: Measured, how: str) -> Table:
    """The figures side by side; ``how`` says in a few words what was done to the weights."""
    table = Table("what", title=f"{how}, beside the original", title_justify="left")
    for side in ("original", "quantised", "ratio"):
        table.add_column(side, justify="right")
    _quality(table, measured)
    table.add_section()
    _cost(table, measured)
    table.add_section()
    _speed(table, measured)
    return table


def _quality(table: Table, measured: Measured) -> None:
    before, after = measured.original.perplexity, measured.quantised.perplexity
    if before is not None and after is not None:
        _row(table, f"perplexity ({before.tokens} tokens)", before.value, after.value, ".3f", ".4f")
    if measured.kv8 is not None and before is not None:
        what = "perplexity, original over an 8-bit cache"
        _row(table, what, before.value, measured.kv8.value, ".3f", ".4f")
    if measured.agreement is not None:
        same = measured.agreement
        what = f"same next token ({same.prompts} prompts)"
        table.add_row(what, "", f"{same.first:.1%}", "")
        what = f"same tokens before the first other of {same.new_tokens}"
        table.add_row(what, "", f"{same.prefix:.1%}", "")


def _cost(table: Table, measured: Measured) -> None:
    for what, field in (("weights loaded, MiB", "loaded"), ("weights on disk, MiB", "disk")):
        before, after = (getattr(memory, field) / _MIB for memory in measured.memory)
        _row(table, what, before, after, ".1f")
    if measured.dense_rows is not None:
        table.add_row("copies that engines keep beside them, MiB", "", _mib(measured), "")
    capacity = measured.capacity
    what = "cache tokens per GiB, in bf16 and in 8 bits"
    _row(table, what, capacity.bf16, capacity.int8, ".0f")


def _mib(measured: Measured) -> str:
    return f"{measured.memory[1].copy / _MIB:.1f}"


def _speed(table: Table, measured: Measured) -> None:
    """By batch: as engines run by default, and without copies where those are used."""
    copied, rows = measured.with_copy or {}, measured.dense_rows
    for batch in BATCHES:
        plain, packed = measured.original.speed[batch], measured.quantised.speed[batch]
        what = f"decode, batch {batch}, tokens/s"
        if rows is None or batch < rows:
            _row(table, what, plain, max(packed, copied.get(batch, packed)), ".1f")
            continue
        _row(table, f"{what}, from copies", plain, copied[batch], ".1f")
        _row(table, f"{what}, without copies", plain, packed, ".1f")


def _row(
    table: Table, what: str, before: float, after: float, digits: str, ratio: str = ".2f"
) -> None:
    share = after / before if before else float("nan")
    table.add_row(what, f"{before:{digits}}", f"{after:{digits}}", f"{share:{ratio}}")


def advice(measured: Measured, bits: int) -> list[str]:
    """What a user should know before serving the quantised model."""
    said = []
    best = measured.with_copy or measured.quantised.speed
    for batch in BATCHES:
        share = max(best[batch], measured.quantised.speed[batch]) / measured.original.speed[batch]
        if share < _SLOWER:
            said.append(
                f"warning: at batch {batch} the {bits}-bit weights decode at {share:.2f} of the "
                "original's speed on this machine; serve the original where speed matters more "
                "than memory"
            )
    if measured.dense_rows is not None:
        said.append(
            f"from {measured.dense_rows} rows on unpacked copies were faster: engines keep them "
            f"({_mib(measured)} MiB more) unless told dense_rows=0 (here: --no-dense-copy)"
        )
    return said


def as_json(measured: Measured) -> dict[str, Any]:
    """Everything measured, as JSON values."""
    told = asdict(measured)
    told["memory"] = dict(zip(("original", "quantised"), told["memory"], strict=True))
    return told
