"""Connected components of links between nodes, in one place or over partitions.

Over partitions: alternating large-star and small-star rounds (Kiveris, Lattanzi, Mirrokni,
Rastogi and Vassilvitskii, "Connected Components in MapReduce and Beyond", 2014). At the fixed
point every node of a component but its smallest has exactly one link, to the smallest.
"""

from typing import Any

import numpy as np

from corpus.dedup.groups import distinct, starts
from corpus.exchange import PARTITIONS, Exchange, Flow, Place, record

EDGE = record(node="u8", other="u8")


def components(size: int, links: np.ndarray) -> np.ndarray:
    """Component of every node, i64, shape (size,): the smallest node number in it.

    ``links`` has shape (links, 2).
    """
    from corpus.dedup.kernels import join

    links = np.ascontiguousarray(links, np.int64).reshape(-1, 2)
    return join(size, np.ascontiguousarray(links[:, 0]), np.ascontiguousarray(links[:, 1]))


def forest(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """EDGE records from every linked node (u64) to the smallest node of its component."""
    nodes, numbers = np.unique(np.concatenate([one, other]), return_inverse=True)
    found = components(len(nodes), numbers.reshape(2, -1).T)
    away = found != np.arange(len(nodes))
    edges = np.empty(int(away.sum()), EDGE)
    edges["node"] = nodes[away]
    edges["other"] = nodes[found[away]]
    return edges


def edges_of(step: str) -> Exchange:
    """Links that a step over partitions sends to both of their nodes."""
    return Exchange(step, "edges", PARTITIONS, PARTITIONS, EDGE)


def _downward(step: str) -> Exchange:
    """Links sent to their larger node only."""
    return Exchange(step, "down", PARTITIONS, PARTITIONS, EDGE)


def send_edges(place: Place, step: str, edges: np.ndarray) -> None:
    """Send links to both of their nodes."""
    turned = np.empty_like(edges)
    turned["node"], turned["other"] = edges["other"], edges["node"]
    place.send(edges_of(step), "node", np.concatenate([edges, turned]))


def run_rounds(flow: Flow, name: str, links: str) -> str:
    """Rounds over the links that step ``links`` sent; the step that sent the result.

    Its ``edges_of`` hold, for every node that is not the smallest of its component, one link
    to the smallest, sent to both.
    """
    last = links
    for number in range(1, 1000):
        large, small = f"{name}-{number}-large", f"{name}-{number}-small"
        stats = flow.each(PARTITIONS, large, _large_star, before=last, here=large)
        stats += flow.each(PARTITIONS, small, _small_star, before=large, here=small)
        last = small
        if not any(found["changed"] for found in stats):
            return last
    raise RuntimeError(f"{name}: no fixed point of the links after 1000 rounds")


def _by_node(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(distinct edges by node, number of each edge's node, smallest other of each node)."""
    edges = distinct(edges)
    first = starts(edges["node"])
    number = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(edges))))
    return edges, number, edges["other"][first]


def _large_star(place: Place, before: str, here: str) -> None:
    """Every larger neighbour of a node is linked to the smallest of its neighbourhood."""
    edges, number, smallest = _by_node(place.read(edges_of(before)))
    smallest = np.minimum(smallest[number], edges["node"]) if len(edges) else edges["node"]
    larger = edges["other"] > edges["node"]
    place.stats["changed"] = int((smallest[larger] != edges["node"][larger]).sum())
    out = np.empty(int(larger.sum()), EDGE)
    out["node"], out["other"] = edges["other"][larger], smallest[larger]
    place.send(_downward(here), "node", distinct(out))


def _small_star(place: Place, before: str, here: str) -> None:
    """Every smaller neighbour of a node, and itself, is linked to the smallest of them."""
    edges, number, smallest = _by_node(place.read(_downward(before)))
    least = smallest[number] if len(edges) else edges["other"]
    rest = edges["other"] != least
    place.stats["changed"] = int(rest.sum())
    among, own = np.empty(int(rest.sum()), EDGE), edges.copy()
    among["node"], among["other"] = edges["other"][rest], least[rest]
    own["other"] = least
    send_edges(place, here, distinct(np.concatenate([own, among])))


def labels(place: Place, step: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(nodes that are not the smallest, their smallest, all nodes with a link) of this place."""
    edges: Any = distinct(place.read(edges_of(step)))
    down = edges["other"] < edges["node"]
    return edges["node"][down], edges["other"][down], np.unique(edges["node"])
