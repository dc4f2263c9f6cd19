"""The checksum of a checkpoint's files: tells damage, at the speed of memory.

XXH3 in 128 bits (https://github.com/Cyan4973/xxHash): three times as fast as blake3 on one core,
which training shares. What a stage gives away, its artifact, is hashed by blake3 as all artifacts
are; this is for a state that only its own run reads again.
"""

from pathlib import Path

import xxhash

_CHUNK_BYTES = 1 << 20


def new_checksum() -> xxhash.xxh3_128:
    """An empty one, to be updated with bytes."""
    return xxhash.xxh3_128()


def checksum_of(path: Path) -> tuple[int, str]:
    """Bytes and checksum of a file.

    Raises:
        OSError: it cannot be read.
    """
    checksum, size = new_checksum(), 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            checksum.update(chunk)
            size += len(chunk)
    return size, checksum.hexdigest()
