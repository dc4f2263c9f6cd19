"""MDS: python token_reading_mds.py STORE FOLDER ROWS LENGTH BATCHES; prints seconds a batch.

Samples are looked up by number through ``StreamingDataset``'s own ``__getitem__``.
"""

import json
import sys
import time
import types
from pathlib import Path

import numpy as np
import transformers  # noqa: F401  # before the stand-in, which it must not look for
from windows import windows

NAMES = ("", ".datasets", ".transforms", ".transforms.functional")


def stand_in() -> None:
    """An empty torchvision: MDS imports it for images, and it wants a torch of its own."""
    for name in NAMES:
        sys.modules[f"torchvision{name}"] = types.ModuleType(f"torchvision{name}")
    sys.modules["torchvision.datasets"].VisionDataset = object
    sys.modules["torchvision.transforms.functional"].to_tensor = None


stand_in()

from streaming import MDSWriter, StreamingDataset  # noqa: E402


def main() -> None:
    store, folder = Path(sys.argv[1]), Path(sys.argv[2])
    rows, length, batches = map(int, sys.argv[3:])
    with MDSWriter(out=str(folder), columns={"tokens": f"ndarray:uint16:{length}"}) as out:
        for window in windows(store, length):
            out.write({"tokens": window})
    dataset = StreamingDataset(local=str(folder), shuffle=False, batch_size=rows)
    order = np.random.default_rng(1).permutation(len(dataset))
    batch = np.empty((rows, length), dtype=np.uint16)
    taken = []
    for number in range(2 * batches):
        at = np.arange(number * rows, (number + 1) * rows) % len(order)
        started = time.perf_counter()
        for row, index in enumerate(order[at].tolist()):
            batch[row] = dataset[index]["tokens"]
        taken.append(time.perf_counter() - started)
    print(json.dumps({"seconds": float(np.median(taken[batches:]))}))


if __name__ == "__main__":
    main()
