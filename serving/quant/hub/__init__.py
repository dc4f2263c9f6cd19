"""Checkpoints that others have packed: GPTQ and AWQ files as they lie on the hub."""
