"""Thresholds of each family of rules, with where they were published."""
