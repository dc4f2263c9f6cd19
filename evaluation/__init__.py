"""The evaluation room: engines to scores and reports."""
