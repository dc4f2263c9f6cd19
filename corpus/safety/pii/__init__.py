"""Finds personal data and secrets, each kind in a file of its own."""
