"""Connected components of links between documents."""

import numpy as np


def components(size: int, links: np.ndarray) -> np.ndarray:
    """Component of every node, shape (size,): the smallest node number in it.

    ``links`` has shape (links, 2). Union by smaller root with path halving.
    """
    parent = list(range(size))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for one, other in links.tolist():
        a, b = root(one), root(other)
        if a != b:
            parent[max(a, b)] = min(a, b)
    return np.fromiter((root(node) for node in range(size)), np.int64, size)
