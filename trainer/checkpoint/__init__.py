"""Training checkpoints: by parameter, sharded over the ranks, written beside the training."""

from trainer.checkpoint.record import METRICS_NAME, CheckpointError, CheckpointRecord
from trainer.checkpoint.store import CheckpointStore, Policy

__all__ = ["METRICS_NAME", "CheckpointError", "CheckpointRecord", "CheckpointStore", "Policy"]
