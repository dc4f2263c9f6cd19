"""The plan of a training run: does it fit, how fast will it be, and at how many GPUs."""
