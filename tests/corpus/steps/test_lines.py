import random
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from corpus.dedup.config import LinesConfig
from corpus.exchange import EARLIER, SHARDS
from corpus.exchange.units import UnitFlow
from corpus.ledger import Tally
from corpus.steps.lines import REJECTED_NAME, drop_repeated
from tests.corpus.flows import Inline, Made, Row, config, row


def _shards(rng: random.Random) -> list[list[Row]]:
    common = [f"a line that stands in several documents, {i}" for i in range(8)]
    shards = []
    for shard in range(3):
        rows = []
        for number in range(20):
            lines = [f"own {shard} {number} {rng.random()}" for _ in range(rng.randint(0, 3))]
            lines += [*rng.choices(common, weights=range(1, 9), k=rng.randint(0, 4)), "short"]
            rng.shuffle(lines)
            breaks = rng.choices(["\n", "\n\n"], k=len(lines))
            text = "".join(a + b for a, b in zip(lines, breaks, strict=True)).strip()
            rows.append(row(f"{shard}-{number}", text))
        shards.append(rows)
    return shards


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def test_lines_of_too_many_documents_go_and_what_loses_too_much_is_rejected(
    tmp_path: Path,
) -> None:
    rng = random.Random()
    shards = _shards(rng)
    limit = rng.randint(2, 9)
    settings = LinesConfig(enabled=True, min_chars=10, max_documents=limit, paragraphs=False)
    counts = Counter(
        line for rows in shards for r in rows for line in set(_lines(r["text"])) if len(line) >= 10
    )
    for partitions in (1, 4):
        made = Made(tmp_path / str(partitions), shards, config())
        names = {SHARDS: made.work.shards, EARLIER: []}
        flow = UnitFlow(Inline(made.work), names, partitions)
        stats = drop_repeated(flow, made.work, settings)
        made.work.texts_of = "lines"
        kept = {r["id"]: r for n in made.work.shards
                for r in pq.read_table(made.work.candidates_file(n)).to_pylist()}  # fmt: skip
        lost = {r["id"]: r for path in made.work.of_shards("lines", REJECTED_NAME)
                for r in pq.read_table(path).to_pylist()}  # fmt: skip
        assert len(kept) + len(lost) == 60
        for r in made.rows:
            expected = [line for line in _lines(r["text"]) if counts[line] <= limit]
            if r["id"] in kept:
                assert _lines(kept[r["id"]]["text"]) == expected
                assert kept[r["id"]]["bytes"] == len(kept[r["id"]]["text"].encode())
            elif expected:
                assert lost[r["id"]]["reason"] == "mostly_repeated_lines"
                assert lost[r["id"]]["score"] > settings.max_lost_share
            else:
                assert lost[r["id"]]["reason"] == "only_repeated_lines"
        tally = Tally()
        for found in stats:
            tally.merge(found["tally"])
        assert tally.amount("lines").documents == 60
        assert tally.amount("lines", "").documents == len(kept)


def test_a_repeated_paragraph_goes_as_a_whole(tmp_path: Path) -> None:
    notice = "Copyright by the authors\nAll rights are kept"
    rows = [
        row(str(i), f"Text number {i} is here, alone.\n\n{notice}\n\nThe end {i}.")
        for i in range(9)
    ]
    made = Made(tmp_path, [rows], config())
    flow = UnitFlow(Inline(made.work), {SHARDS: made.work.shards, EARLIER: []}, 1)
    drop_repeated(flow, made.work, LinesConfig(enabled=True, min_chars=30))
    made.work.texts_of = "lines"
    texts = pq.read_table(made.work.candidates_file("00000"))["text"].to_pylist()
    assert texts == [f"Text number {i} is here, alone.\n\nThe end {i}." for i in range(9)]
