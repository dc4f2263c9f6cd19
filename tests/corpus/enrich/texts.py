"""Documents of two kinds that share most of their words."""

import random
from typing import Any

WORDS = [f"{a}{b}{c}" for a in "bdgkmp" for b in "aeiou" for c in "lnrst"]


def text(rng: random.Random, kind: int, words: int = 60) -> str:
    """Words of which a third is of its kind; kinds 0 to 2."""
    own = WORDS[kind::3]
    return " ".join(rng.choice(own) if rng.random() < 0.5 else rng.choice(WORDS)
                    for _ in range(words))  # fmt: skip


def pool(rng: random.Random, sizes: dict[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """Source -> (kind, documents); in random order, some held out."""
    rows = [
        {
            "id": f"{source}-{i}",
            "source": source,
            "url": f"https://{source}.example/{i}",
            "split": "validation" if rng.random() < 0.1 else "train",
            "text": text(rng, kind),
        }
        for source, (kind, count) in sizes.items()
        for i in range(count)
    ]
    rng.shuffle(rows)
    return rows
