"""Worlds an agent is put in: where the tasks come from, and how an episode is judged."""
