"""Engines of others behind our protocol: the reference, and optional ones."""
