"""Which documents are held out: by cluster, so no near duplicate crosses over."""

from blake3 import blake3

from contracts.documents import TRAIN, VALIDATION


def split_of(cluster: int, seed: int, validation_share: float) -> str:
    """``train`` or ``validation``, from a hash of seed and cluster."""
    raw = blake3(f"split\x00{seed}\x00{cluster}".encode()).digest(8)
    held_out = int.from_bytes(raw, "little") < validation_share * 2**64
    return VALIDATION if held_out else TRAIN
