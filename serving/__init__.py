"""The serving room: checkpoint to engine to endpoint."""
