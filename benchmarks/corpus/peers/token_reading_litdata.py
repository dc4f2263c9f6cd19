"""litdata: python token_reading_litdata.py STORE FOLDER ROWS LENGTH BATCHES; seconds a batch.

Tokens are written with ``TokensLoader``, its format for language models, and read through
``StreamingDataset``'s own ``__getitem__`` in random order.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from litdata import StreamingDataset
from litdata.streaming import Cache, TokensLoader
from windows import windows


def main() -> None:
    store, folder = Path(sys.argv[1]), Path(sys.argv[2])
    rows, length, batches = map(int, sys.argv[3:])
    folder.mkdir(parents=True, exist_ok=True)
    cache = Cache(str(folder), chunk_bytes="64MB", item_loader=TokensLoader(block_size=length))
    for number, window in enumerate(windows(store, length)):
        cache[number] = torch.from_numpy(window)
    cache.done()
    cache.merge()
    dataset = StreamingDataset(
        str(folder), item_loader=TokensLoader(block_size=length), shuffle=False
    )
    order = np.random.default_rng(1).permutation(len(dataset))
    batch = np.empty((rows, length), dtype=np.uint16)
    taken = []
    for number in range(2 * batches):
        at = np.arange(number * rows, (number + 1) * rows) % len(order)
        started = time.perf_counter()
        for row, index in enumerate(order[at].tolist()):
            batch[row] = dataset[index].numpy()
        taken.append(time.perf_counter() - started)
    print(json.dumps({"seconds": float(np.median(taken[batches:]))}))


if __name__ == "__main__":
    main()
