"""The agents room: endpoint and tools to trajectories."""
