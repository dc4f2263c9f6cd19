"""What quantising cost and gained, measured: quality, speed, memory."""
