import random
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest

from corpus.dedup.paragraphs import Paragraphs, containment_links, long_paragraphs


def _texts(rng: random.Random, count: int) -> list[list[str]]:
    """Documents as lists of paragraphs, some of them shared by a few or by many."""
    shared = [f"shared {i} " * rng.randint(1, 9) for i in range(12)]
    return [
        [
            f"own {row} {rng.random()} " * rng.randint(0, 20),
            *rng.choices(shared, weights=range(1, 13), k=rng.randint(0, 4)),
        ]
        for row in range(count)
    ]


def test_containment_is_what_comparing_every_pair_says() -> None:
    rng = random.Random()
    for _ in range(8):
        texts = [[part.strip() for part in text] for text in _texts(rng, 25)]
        limit, share = rng.randint(2, 12), rng.choice([0.0, 0.1, 0.4, 1.0])
        owners_of = {
            part: {row for row, text in enumerate(texts) if part in text and len(part) >= 10}
            for text in texts
            for part in text
        }
        entries = [long_paragraphs("\n\n".join(text), 10) for text in texts]
        totals = [max(sum(map(len, text)), 1) for text in texts]
        expected = set()
        for one, other in combinations(range(len(texts)), 2):
            both = {p for p, owners in owners_of.items() if {one, other} <= owners}
            common = sum(
                len(part) * min(texts[one].count(part), texts[other].count(part))
                for part in both
                if len(owners_of[part]) <= limit
            )
            if common > share * min(totals[one], totals[other]):
                expected.add((one, other))
        paragraphs = Paragraphs.of_table(
            pa.table(
                {
                    "paragraphs": pa.array([list(e) for e in entries], pa.list_(pa.uint64())),
                    "paragraph_bytes": pa.array(
                        [list(e.values()) for e in entries], pa.list_(pa.uint32())
                    ),
                }
            )
        )
        links = containment_links(
            paragraphs.rows,
            paragraphs.hashes,
            paragraphs.sizes,
            np.array(totals),
            max_share=share,
            max_owners=limit,
        )
        assert set(map(tuple, links.tolist())) == expected


def test_no_paragraphs_give_no_links() -> None:
    none = np.zeros(0, np.int64)
    links = containment_links(
        none, none.astype(np.uint64), none, np.array([5, 6]), max_share=0.1, max_owners=20
    )
    assert links.shape == (0, 2)


@pytest.mark.parametrize("space", ["\n\n", "\n\n\n\n"])
def test_paragraphs_are_long_and_differ_by_more_than_white_space(space: str) -> None:
    line = "A sentence with enough characters, and an é in it."
    text = space.join(["Too short.", line, line.replace(" ", "\n  "), "Short again.", line + "!"])
    found = long_paragraphs(text, 30)
    assert sorted(found.values()) == [len((line + "!").encode()), 2 * len(line.encode())]
    assert long_paragraphs("", 30) == {}
