"""Exact and near duplicates, and which member of a cluster stays."""
