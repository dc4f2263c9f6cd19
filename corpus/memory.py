"""How much memory a build takes at most, from its config alone."""

from corpus.config import BuildConfig

_DRIVER_BYTES = 700 << 20
"""The driver with Ray's own processes (head, raylet, agents), about."""
_WORKER_BYTES = 500 << 20
"""A worker with its libraries, models and one batch of texts."""
_COPIES_OF_PARTITION = 5
"""A partition's records lie in memory so many times at most, while they are sorted and joined."""


def worker_bound(config: BuildConfig) -> int:
    """Bytes of one worker at its largest step."""
    documents = 4 * config.max_document_bytes + (64 << 20)
    return _WORKER_BYTES + documents + _COPIES_OF_PARTITION * config.dedup.partition_bytes


def bound(config: BuildConfig, workers: int) -> int:
    """Bytes of the driver, Ray and ``workers`` workers together; holds for any input whose
    single shards are clustered in a partition's memory.
    """
    return _DRIVER_BYTES + workers * worker_bound(config)


def line(config: BuildConfig, workers: int) -> str:
    """The bound, for the log."""
    return (
        f"memory: at most {bound(config, workers) / 1e9:.1f} GB with {workers} workers, "
        f"{config.dedup.partition_bytes >> 20} MiB to a partition"
    )
