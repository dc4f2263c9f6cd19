"""How one optimisation step is done: by one process, or by many with DeepSpeed ZeRO."""
