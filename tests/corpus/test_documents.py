"""Batches of a documents' file: every row once, and little text in memory."""

import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.documents import BATCH_ROWS, read_rows, record_batches, text_batches

LONG = 4 << 20
GROUPS = 8


@pytest.fixture
def long_documents(tmp_path: Path) -> Path:
    """One document of 4 MiB in each of eight row groups, as the corpus writes them."""
    path = tmp_path / "part-00000.parquet"
    schema = pa.schema(
        [("uid", pa.uint64()), ("split", pa.string()), ("source", pa.string()),
         ("lang", pa.string()), ("text", pa.string()), ("quality", pa.float32())]
    )  # fmt: skip
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as writer:
        for i in range(GROUPS):
            row = {"uid": i, "split": "train", "source": "s", "lang": "en", "quality": 0.5}
            writer.write_table(pa.Table.from_pylist([row | {"text": "x" * LONG}], schema=schema))
    return path


def test_rows_come_once_in_order_and_no_batch_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    sizes = [0, 3, BATCH_ROWS + 5, 0, 1, random.randrange(1, 3 * BATCH_ROWS), 0]
    schema = pa.schema([("uid", pa.uint64()), ("split", pa.string()), ("text", pa.string())])
    rows = [
        {"uid": i, "split": random.choice(["train", "validation"]), "text": "y" * (i % 90)}
        for i in range(sum(sizes))
    ]
    with pq.ParquetWriter(path, schema) as writer:
        start = 0
        for size in sizes:
            mine = rows[start : start + size]
            writer.write_table(pa.Table.from_pylist(mine, schema=schema))
            start += size
    with pq.ParquetFile(path) as file:
        found = list(record_batches(file, ["uid", "text"]))
    assert all(0 < len(batch) <= BATCH_ROWS for batch in found)
    assert [uid for batch in found for uid in batch["uid"].to_pylist()] == list(range(len(rows)))
    texts = list(text_batches(path, ["uid", "split"], max_bytes=500))
    assert [row for batch in texts for row in batch.to_pylist()] == rows
    assert all(len(b) == 1 or sum(map(len, b["text"].to_pylist())) <= 500 for b in texts)
    wanted = [row for row in rows if row["split"] == "train"]
    assert list(read_rows([path], ["uid", "text"], "train")) == wanted


WORKS = {
    "tokenise": "assert sum(len(b) for b in text_batches(path, ['uid'])) == 8",
    "ask": "assert sum(1 for _ in read_rows([path], ['text'])) == 8",
    "score": "score(unit, path, {}, ValueConfig(measures=False, classifiers=[]))",
    "judge": "judge(unit, path, SelectConfig(), None, 0)",
    "examples": "assert list(_texts(path, [np.array([2], np.int64)])) == [2]",
}
SCRIPT = """
import sys
from pathlib import Path
import numpy as np
import pyarrow as pa
from clusters.units import Unit
from corpus.documents import read_rows, text_batches
from corpus.select.config import SelectConfig
from corpus.select.judge import judge
from corpus.steps.examples import _texts
from corpus.steps.score import score
from corpus.value.config import ValueConfig
path, unit = Path(sys.argv[1]), Unit("unit", Path(sys.argv[2]), "part")
exec(sys.argv[3])
print(pa.default_memory_pool().max_memory())
"""


@pytest.mark.parametrize("work", WORKS)
def test_one_row_group_of_long_documents_is_in_memory_at_a_time(
    long_documents: Path, tmp_path: Path, work: str
) -> None:
    """In a process of its own: Arrow tells only the most that a process ever held."""
    command = [sys.executable, "-c", SCRIPT, str(long_documents), str(tmp_path), WORKS[work]]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert LONG <= int(done.stdout) < GROUPS * LONG / 2
