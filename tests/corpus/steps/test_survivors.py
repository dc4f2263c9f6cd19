import random
from pathlib import Path

import numpy as np

from tests.corpus.flows import Made, config, row

WORDS = [f"w{i}" for i in range(3000)]


def _family(rng: random.Random, name: str) -> list[dict]:
    text = " ".join(rng.choices(WORDS, k=300))
    texts = [text, text.upper(), text + " more", text + " and more of it", text]
    return [row(f"{name}-{i}", t) for i, t in enumerate(texts)]


def test_of_every_cluster_the_best_stays_then_the_longest_then_the_smallest_uid(
    tmp_path: Path,
) -> None:
    rng = random.Random()
    rows = [r for f in range(20) for r in _family(rng, str(f))]
    rng.shuffle(rows)
    scores = [rng.choice([0.25, 0.5, 0.75]) for _ in rows]
    for partitions in (1, 4):
        made = Made(tmp_path / str(partitions), [rows[:30], rows[30:]], config(),
                    [scores[:30], scores[30:]])  # fmt: skip
        made.survivors(partitions, made.cluster(partitions))
        clusters, decided = made.clusters(), made.decisions()
        members: dict[int, list[int]] = {}
        for place, found in enumerate(clusters):
            members.setdefault(found["cluster"], []).append(place)
        assert len(members) == 20
        for places in members.values():
            best = min(places, key=lambda p: (-scores[p], -rows[p]["bytes"], rows[p]["uid"]))
            assert [p for p in places if decided[p]["stage"] == ""] == [best]
            assert {decided[p]["dup_count"] for p in places} == {5}
            assert {decided[p]["survivor"] for p in places} == {rows[best]["uid"]}
            exact = [p for p in places if decided[p]["reason"] == "exact_duplicate"]
            assert len(exact) == 2  # three of five are equal: one of them stays or is near


def test_without_scores_the_longest_stays(tmp_path: Path) -> None:
    rows = _family(random.Random(), "a")
    made = Made(tmp_path, [rows], config())
    made.survivors(1, made.cluster(1))
    assert [d["stage"] for d in made.decisions()].index("") == 3


def test_leakage_is_what_reading_every_paragraph_says(tmp_path: Path) -> None:
    rng = random.Random()
    pool = [" ".join(f"{rng.random():.9f}" for _ in range(12)) for _ in range(30)]
    texts = [rng.sample(pool, 2) + ["short"] * rng.randint(0, 30) for _ in range(25)]
    rows = [row(str(i), "\n\n".join(parts)) for i, parts in enumerate(texts)]
    settings = config(split={"validation_share": 0.5, "max_containment": 1})
    for partitions in (1, 3):
        made = Made(tmp_path / str(partitions), [rows[:10], rows[10:]], settings)
        report = made.survivors(partitions, made.cluster(partitions))
        kept = [i for i, d in enumerate(made.decisions()) if d["stage"] == ""]
        split = [d["split"] for d in made.decisions()]
        trained = {p for i in kept if split[i] == "train" for p in texts[i]}
        held_out = [i for i in kept if split[i] == "validation"]
        shared = {
            i: sum(len(p) for p in texts[i] if p in trained and len(p) > 99) for i in held_out
        }
        assert report["bytes_in_train"] == sum(shared.values())
        assert report["validation_documents"] == len(held_out)
        assert report["validation_bytes"] == sum(rows[i]["bytes"] for i in held_out)
        assert report["documents_mostly_in_train"] == sum(
            2 * shared[i] > rows[i]["bytes"] for i in held_out
        )
        share = sum(shared.values()) / max(sum(rows[i]["bytes"] for i in held_out), 1)
        assert np.isclose(report["share_in_train"], share)
