"""A rank's part of a checkpoint: a safetensors file, hashed while it is written."""

from itertools import chain
from mmap import PAGESIZE
from pathlib import Path

import torch
from safetensors import safe_open

from trainer.checkpoint.checksum import new_checksum
from trainer.checkpoint.direct_file import DirectFile
from trainer.checkpoint.snapshot import Snapshot
from trainer.parallel.fragments import Fragment, parse_key
from trainer.safetensors_header import header_bytes


def write_shard(path: Path, snapshot: Snapshot) -> tuple[int, str]:
    """Write a snapshot's fragments in one pass and flush them to the disk.

    safetensors' own writer copies every tensor and would need a second pass for the hash.

    Returns:
        Bytes and checksum of the file.
    """
    sizes = ((f.key, f.values.numel()) for f in snapshot.fragments)
    tensors = ((key, "F32", [count], 4 * count) for key, count in sizes)
    header = header_bytes(tensors, align=PAGESIZE)
    checksum, written = new_checksum(), 0
    with DirectFile(path) as file:
        for batch in chain([[memoryview(header)]], snapshot.batches()):
            file.write(batch)
            for run in batch:
                checksum.update(run)
                written += len(run)
    return written, checksum.hexdigest()


class ShardReader:
    """Reads runs of elements from the shard files of a checkpoint, whoever wrote them."""

    def __init__(self, paths: list[Path]) -> None:
        """Read the headers; the elements are read when they are asked for."""
        self._index: dict[tuple[str, str], list[tuple[int, int, Path, str]]] = {}
        for path in paths:
            with safe_open(path, "pt") as file:
                for key in file.keys():  # noqa: SIM118  (it is no dict)
                    kind, parameter, start = parse_key(key)
                    (size,) = file.get_slice(key).get_shape()
                    runs = self._index.setdefault((kind, parameter), [])
                    runs.append((start, start + size, path, key))
        for runs in self._index.values():
            runs.sort()

    def fill(self, fragments: list[Fragment]) -> None:
        """Copy the saved elements into live fragments.

        Raises:
            KeyError: an element of a fragment is in no file; names the parameter.
        """
        wanted: dict[Path, list[tuple[str, slice, torch.Tensor]]] = {}
        for fragment in fragments:
            reached = fragment.start
            for start, stop, path, key in self._index.get((fragment.kind, fragment.parameter), []):
                first, last = max(start, fragment.start), min(stop, fragment.stop)
                if last <= first:
                    continue
                if first > reached:
                    break
                target = fragment.values[first - fragment.start : last - fragment.start]
                piece = (key, slice(first - start, last - start), target)
                wanted.setdefault(path, []).append(piece)
                reached = max(reached, last)
            if reached < fragment.stop:
                raise KeyError(f"{fragment.kind} of {fragment.parameter} from element {reached}")
        for path, pieces in wanted.items():
            with safe_open(path, "pt") as file:
                for key, run, target in pieces:
                    target.copy_(file.get_slice(key)[run])
