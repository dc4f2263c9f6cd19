"""Heuristic filters: each answers None, or why a document goes, with the value it measured."""
