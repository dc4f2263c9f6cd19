"""LoRA: several adapters over one base model, in one batch."""
