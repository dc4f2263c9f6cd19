"""What a run shows of itself: speed, use of the hardware, time lost, curves, trackers."""
