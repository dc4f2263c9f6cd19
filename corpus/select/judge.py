"""Step ``judge`` of ``corpus.select``: one part's documents through thresholds to domains."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clusters.units import Unit
from contracts.documents import TRAIN
from corpus.documents import record_batches
from corpus.ledger import PASSED, Tally
from corpus.select.budget import keys_of
from corpus.select.config import SelectConfig
from corpus.select.thresholds import column, domains_of, outcomes

PASSED_NAME = "passed.parquet"
MIXTURE_STEP = "mixture"
RECALLED_STEP = "recalled"
PASSED_SCHEMA = pa.schema(
    [
        pa.field("uid", pa.uint64()),
        pa.field("domain", pa.string()),
        pa.field("train", pa.bool_()),
        pa.field("bytes", pa.int64()),
        pa.field("source", pa.string()),
        pa.field("lang", pa.string()),
        pa.field("key", pa.uint64()),
    ]
)
"""Documents that passed, in row order."""


def steps_of(config: SelectConfig) -> list[str]:
    """The funnel's steps, in order."""
    return [RECALLED_STEP, *config.thresholds, MIXTURE_STEP, "budget"]


def columns_of(config: SelectConfig) -> list[str]:
    """Score columns that the config names."""
    budget = [config.budget.by] if config.budget and config.budget.by else []
    buckets = [name for name in config.domains.by if name not in ("source", "lang")]
    return list(dict.fromkeys([*config.thresholds, *buckets, *budget]))


def judge(
    unit: Unit, part: Path, config: SelectConfig, recalled: dict[int, str] | None, seed: int
) -> None:
    """Write what passes and tally the rest. ``recalled`` is None without such an input."""
    tally = Tally()
    names = ["uid", "split", "source", "lang", "text", *columns_of(config)]
    with (
        pq.ParquetFile(part) as file,
        pq.ParquetWriter(unit.scratch(PASSED_NAME), PASSED_SCHEMA, compression="zstd") as writer,
    ):
        for batch in record_batches(file, names):
            writer.write_table(_judge_batch(batch, config, recalled, seed, tally))
    unit.stats["tally"] = tally.rows()


def _judge_batch(
    batch: pa.RecordBatch,
    config: SelectConfig,
    recalled: dict[int, str] | None,
    seed: int,
    tally: Tally,
) -> pa.Table:
    uids = batch["uid"].to_numpy()
    sources = batch["source"].to_numpy(zero_copy_only=False)
    languages = batch["lang"].to_numpy(zero_copy_only=False)
    sizes = np.asarray(pc.binary_length(batch["text"]), np.int64)
    domains = domains_of(batch, config.domains)
    known = np.array([(recalled or {}).get(uid) for uid in uids.tolist()], object)
    sure = known != None  # noqa: E711
    domains[sure] = known[sure]
    alive = np.full(len(uids), True)

    def ask(step: str, reasons: np.ndarray) -> None:
        for row in np.flatnonzero(alive).tolist():
            tally.add(step, reasons[row], sources[row], languages[row], int(sizes[row]))
        alive[reasons != PASSED] = False

    only = recalled is not None and config.recalled == "only"
    ask(RECALLED_STEP, np.where(sure | (not only), PASSED, "not_recalled").astype(object))
    for name, threshold in config.thresholds.items():
        found = outcomes(column(batch, name), languages, sources, threshold)
        found[sure] = PASSED
        ask(name, found)
    weights = config.mixture.weights or {}
    ask(
        MIXTURE_STEP,
        np.array(["no_weight" if weights.get(d) == 0 else PASSED for d in domains], object),
    )
    table = pa.table(
        {
            "uid": uids,
            "domain": pa.array(domains, pa.string()),
            "train": pc.equal(batch["split"], TRAIN),
            "bytes": sizes,
            "source": batch["source"],
            "lang": batch["lang"],
            "key": _keys(batch, uids, config, seed),
        },
        schema=PASSED_SCHEMA,
    )
    return table.filter(pa.array(alive))


def _keys(batch: pa.RecordBatch, uids: np.ndarray, config: SelectConfig, seed: int) -> np.ndarray:
    budget = config.budget
    values = np.zeros(len(uids), np.float32)
    if budget and budget.by:
        values = column(batch, budget.by).astype(np.float32)
    return keys_of(values, uids, budget is None or budget.order == "highest", seed)
