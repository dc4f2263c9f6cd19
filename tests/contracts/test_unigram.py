import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from contracts.token_store import Shard, TokenStoreMeta
from contracts.unigram import count_tokens, unigram_log_probs


def test_log_probs_are_those_of_counting_over_all_shards(tmp_path: Path) -> None:
    chance, size = random.Random(), 30
    seen: Counter[int] = Counter()
    shards = []
    for index in range(3):
        tokens = [chance.randrange(size - 2) for _ in range(chance.randrange(1, 400))]
        seen.update(tokens)
        name = f"shard-{index:05d}"
        np.array(tokens, "<u2").tofile(tmp_path / f"{name}.tok")
        shards.append(Shard(name=name, domain="d", tokens=len(tokens), docs=1, blake3=""))
    meta = TokenStoreMeta(
        dtype="uint16", tokenizer_blake3="", vocab_size=size, eos_id=0, shards=shards
    )
    (tmp_path / "store.json").write_text(meta.model_dump_json())
    counts = count_tokens(tmp_path)
    assert counts.tolist() == [seen[token] for token in range(size)]
    found = unigram_log_probs(counts)
    assert math.fsum(np.exp(found)) == pytest.approx(1)
    for token in range(size):
        wanted = (seen[token] + 1) / (seen.total() + size)
        assert found[token] == pytest.approx(math.log(wanted))
