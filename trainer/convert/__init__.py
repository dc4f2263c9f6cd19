"""Checkpoints between layouts, tensor by tensor, and out of a running training."""
