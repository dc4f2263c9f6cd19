import random
from pathlib import Path

import numpy as np
import pytest

from clusters.units import Units
from corpus.dedup.components import EDGE, components, forest, labels, run_rounds, send_edges
from corpus.exchange import EARLIER, PARTITIONS, SHARDS, Flow, MemoryFlow, Place
from corpus.exchange.flow import partition_of
from corpus.exchange.units import UnitFlow
from corpus.workspace import Workspace
from tests.corpus.dedup import reference
from tests.corpus.flows import Inline

Links = list[tuple[int, int]]


def _random(rng: random.Random) -> Links:
    nodes = [rng.getrandbits(64) for _ in range(150)]
    return [(rng.choice(nodes), rng.choice(nodes)) for _ in range(rng.randint(1, 200))]


def _path(rng: random.Random) -> Links:
    nodes = [rng.getrandbits(64) for _ in range(400)]
    return list(zip(nodes[1:], nodes[:-1], strict=True))


def _star(rng: random.Random) -> Links:
    nodes = [rng.getrandbits(64) for _ in range(300)]
    return [(nodes[0], node) for node in nodes[1:]]


def _caterpillar(rng: random.Random) -> Links:
    spine = sorted(rng.getrandbits(64) for _ in range(60))
    legs = [(node, rng.getrandbits(64)) for node in spine for _ in range(3)]
    return list(zip(spine[1:], spine[:-1], strict=True)) + legs


def _send(place: Place, links: list[Links]) -> None:
    own = np.array(links[place.index], np.uint64).reshape(-1, 2)
    own = own[own[:, 0] != own[:, 1]]
    edges = np.empty(len(own), EDGE)
    edges["node"], edges["other"] = own[:, 0], own[:, 1]
    send_edges(place, "links", edges)


def _collect(place: Place, joined: str) -> None:
    nodes, smallest, linked = labels(place, joined)
    place.stats["labels"] = dict(zip(nodes.tolist(), smallest.tolist(), strict=True))
    place.stats["linked"] = linked.tolist()


def _flow(kind: str, folder: Path, partitions: int) -> Flow:
    work = Workspace(Units(folder), [])
    if kind == "files":
        return UnitFlow(Inline(work), {SHARDS: [], EARLIER: []}, partitions)
    with work.units.start("flow/all") as unit:
        return MemoryFlow(unit, {SHARDS: [], EARLIER: []}, partitions)


@pytest.mark.parametrize("kind", ["memory", "files"])
@pytest.mark.parametrize("make", [_random, _path, _star, _caterpillar])
def test_rounds_find_the_components_that_a_search_finds(
    make: object, kind: str, tmp_path: Path
) -> None:
    rng = random.Random()
    links: Links = make(rng)  # type: ignore[operator]
    rng.shuffle(links)
    partitions = rng.randint(1, 6)
    flow = _flow(kind, tmp_path, partitions)
    given = [links[number::partitions] for number in range(partitions)]
    flow.each(PARTITIONS, "links", _send, links=given)
    joined = run_rounds(flow, "join", "links")
    stats = flow.each(PARTITIONS, "labels", _collect, joined=joined)
    nodes = sorted({node for link in links for node in link})
    expected = reference.components(nodes, links)
    found = {node: label for s in stats for node, label in s["labels"].items()}
    assert {int(node): label for node, label in found.items()} == {
        node: label for node, label in expected.items() if node != label
    }
    linked = {node for s in stats for node in s["linked"]}
    assert linked == {node for one, other in links if one != other for node in (one, other)}


def test_components_in_one_place_agree_with_a_search() -> None:
    rng = random.Random()
    for _ in range(30):
        size = rng.randint(1, 40)
        links = [(rng.randrange(size), rng.randrange(size)) for _ in range(rng.randint(0, 40))]
        got = components(size, np.array(links, np.int64).reshape(-1, 2))
        expected = reference.components(list(range(size)), links)
        assert got.tolist() == [expected[node] for node in range(size)]


def test_a_long_chain_is_flat() -> None:
    order = np.random.default_rng().permutation(50_000)
    links = np.stack([order[1:], order[:-1]], axis=1)
    assert not components(50_000, links).any()


def test_a_forest_has_one_link_per_node_to_the_smallest() -> None:
    links = _random(random.Random())
    one, other = np.array(links, np.uint64).T
    expected = reference.components(sorted({n for link in links for n in link}), links)
    found = forest(one, other)
    assert dict(zip(found["node"].tolist(), found["other"].tolist(), strict=True)) == {
        node: label for node, label in expected.items() if node != label
    }


def test_partitions_are_even() -> None:
    keys = np.arange(100_000, dtype=np.uint64)  # uids are hashes; even these spread
    counts = np.bincount(partition_of(keys, 7), minlength=7)
    assert counts.min() > 0.9 * counts.max()
