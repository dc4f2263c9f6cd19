"""The beginning of a safetensors file: a length, a JSON header, then the values.

https://github.com/huggingface/safetensors, "Format". safetensors' own writer holds every tensor at
once; who writes them one by one begins the file with this.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any


def header_bytes(
    tensors: Iterable[tuple[str, str, Iterable[int], int]],
    metadata: Mapping[str, str] | None = None,
    align: int = 8,
) -> bytes:
    """Everything before the values.

    Args:
        tensors: (name, type in the format's spelling, shape, bytes) of each, in the order in
            which their values will follow without gaps.
        metadata: free text by name.
        align: the values begin at a multiple of so many bytes, itself one of 8.
    """
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    offset = 0
    for name, dtype, shape, size in tensors:
        end = offset + size
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % align)  # the format lets spaces follow
    return len(text).to_bytes(8, "little") + text
