"""Expectations from other projects' unit tests, put to our rules of the same definition."""
