import random
from pathlib import Path

import pytest

from corpus.dedup.minhash import Sketcher
from corpus.split import split_of
from tests.corpus.dedup import reference
from tests.corpus.flows import Made, Row, config, row

WORDS = [f"w{i}" for i in range(3000)]


def _edited(text: str, rng: random.Random, edits: int) -> str:
    words = text.split(" ")
    for _ in range(edits):
        words[rng.randrange(len(words))] = rng.choice(WORDS)
    return " ".join(words)


def _shards(rng: random.Random, shards: int = 5, each: int = 40) -> list[list[Row]]:
    """Random texts, many of them copies or edited copies; one id stands in every shard."""
    texts: list[str] = []
    made: list[list[Row]] = []
    for shard in range(shards):
        rows = []
        for number in range(each):
            kind = rng.random()
            if kind < 0.15 and texts:
                text = rng.choice(texts).upper() + " !"
            elif kind < 0.5 and texts:
                text = _edited(rng.choice(texts), rng, rng.randint(1, 4))
            else:
                text = " ".join(rng.choices(WORDS, k=rng.randint(3, 200)))
            texts.append(text)
            repeated = number == 0 or rng.random() < 0.05
            rows.append(row("again" if repeated else f"{shard}-{number}", text))
        made.append(rows)
    return made


def _expected(made: Made) -> tuple[list[int], list[bool]]:
    """(cluster, duplicate id) of every row, by comparing every pair."""
    sketcher = Sketcher(made.settings.dedup)
    sketches = [sketcher.sketch(r["text"], r["lang"]) for r in made.rows]
    first: dict[int, int] = {}
    repeated = []
    for number, r in enumerate(made.rows):
        head = first.setdefault(r["uid"], number)
        repeated.append(sketches[head].content != sketches[number].content)
    kept = [number for number, again in enumerate(repeated) if not again]
    links = [
        (one, other)
        for one in kept
        for other in kept
        if one < other and (sketches[one].keys == sketches[other].keys).any()
    ]
    labels = reference.components(kept, links)
    smallest: dict[int, int] = {}
    for number, label in labels.items():
        uid = made.rows[number]["uid"]
        smallest[label] = min(smallest.get(label, uid), uid)
    clusters = [
        r["uid"] if again else smallest[labels[number]]
        for number, (r, again) in enumerate(zip(made.rows, repeated, strict=True))
    ]
    return clusters, repeated


@pytest.mark.parametrize("partitions", [1, 7])
def test_clusters_are_what_comparing_every_pair_says(partitions: int, tmp_path: Path) -> None:
    made = Made(tmp_path, _shards(random.Random()), config())
    found = made.cluster(partitions)
    clusters, repeated = _expected(made)
    assert [r["cluster"] for r in made.clusters()] == clusters
    assert [r["duplicate_id"] for r in made.clusters()] == repeated
    assert any(repeated)
    assert len(set(clusters)) < len(clusters) - 20
    assert found["groups"] == len({r["group"] for r in made.clusters() if not r["duplicate_id"]})


@pytest.mark.parametrize("verify", ["none", "estimate", "exact"])
def test_any_number_of_partitions_gives_the_same(verify: str, tmp_path: Path) -> None:
    rng = random.Random()
    settings = config(dedup={"verify": verify, "threshold": 0.9, "bands": 20, "rows": 4},
                      split={"validation_share": 0.3, "min_paragraph_chars": 10})  # fmt: skip
    shards = _shards(rng)
    scores = [[rng.choice([0.1, 0.5, 0.9]) for _ in shard] for shard in shards]
    seen = []
    for partitions in (1, 2, 7):
        made = Made(tmp_path / str(partitions), shards, settings, scores)
        groups = made.cluster(partitions)
        seen.append((groups, made.survivors(partitions, groups), made.clusters(), made.decisions()))
    assert seen[0] == seen[1] == seen[2]


def test_a_checked_link_has_the_similarity_it_was_asked_for(tmp_path: Path) -> None:
    rng = random.Random()
    base = [" ".join(rng.choices(WORDS, k=60)) for _ in range(30)]
    rows = [row(f"{i}-{j}", _edited(t, rng, j)) for i, t in enumerate(base) for j in range(3)]
    settings = config(dedup={"verify": "exact", "threshold": 0.8, "bands": 40, "rows": 2})
    made = Made(tmp_path, [rows[::2], rows[1::2]], settings)
    made.cluster(1)
    ordered = rows[::2] + rows[1::2]
    members: dict[int, list[str]] = {}
    for r, found in zip(ordered, made.clusters(), strict=True):
        members.setdefault(found["cluster"], []).append(r["text"])
    large = [texts for texts in members.values() if len(texts) > 1]
    assert large
    for texts in large:
        sets = [reference.shingles(text, 5) for text in texts]
        assert all(
            any(reference.jaccard(one, other) >= 0.8 for other in sets if other is not one)
            for one in sets
        )


def test_two_records_of_one_uid_are_reported(tmp_path: Path) -> None:
    text = "one two three four five six"
    rows = [row("a", text), row("b", "something else entirely here now", uid=row("a", text)["uid"])]
    for partitions in (1, 3):
        made = Made(tmp_path / str(partitions), [rows[:1], rows[1:]], config())
        assert [list(p) for p in made.cluster(partitions)["collision"]] == [[0, 0], [1, 0]]


def test_groups_are_clusters_that_quote_each_other(tmp_path: Path) -> None:
    rng = random.Random()
    shared = [" ".join(rng.choices(WORDS, k=8)) for _ in range(6)]
    texts: dict[int, list[str]] = {}
    for number in range(60):
        own = [" ".join(rng.choices(WORDS, k=rng.randint(8, 80))) for _ in range(2)]
        texts[number] = own + rng.sample(shared, rng.randint(0, 2))
    settings = config(split={"min_paragraph_chars": 10, "max_containment": 0.2,
                             "max_paragraph_clusters": 9, "validation_share": 0.3})  # fmt: skip
    rows = [row(str(number), "\n\n".join(parts)) for number, parts in texts.items()]
    close = reference.contained(texts, 9, 0.2)
    labels = reference.components(list(texts), list(close))
    expected = reference.groups_of(labels)
    for partitions in (1, 5):
        made = Made(tmp_path / str(partitions), [rows[:25], rows[25:]], settings)
        found = made.cluster(partitions)
        table = made.clusters()
        assert len({r["cluster"] for r in table}) == 60
        got = {number: r["group"] for number, r in enumerate(table)}
        assert reference.groups_of(got) == expected
        assert found["groups"] == len(expected)
        assert found["largest_group"] == max(map(len, expected))
        assert found["linked_documents"] == sum(len(g) for g in expected if len(g) > 1)
        for r in table:
            others = [o for o in table if o["group"] == r["group"]]
            assert len({o["split"] for o in others}) == 1
            if len(others) == 1:
                assert r["split"] == split_of(r["group"], 3, 0.3)


def test_a_family_too_large_for_the_validation_split_goes_to_train(tmp_path: Path) -> None:
    rng = random.Random()
    quote = " ".join(rng.choices(WORDS, k=30))
    settings = config(split={"validation_share": 0.9, "min_paragraph_chars": 50})
    rows = [
        row(str(i), "\n\n".join([quote, *(" ".join(rng.choices(WORDS, k=20)) for _ in range(3))]))
        for i in range(15)
    ]
    made = Made(tmp_path, [rows], settings)
    made.cluster(1)
    assert {r["split"] for r in made.clusters()} == {"train"}
    assert len({r["group"] for r in made.clusters()}) == 1
