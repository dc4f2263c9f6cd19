"""Finds documents that hold items of evaluation sets, by n-gram overlap."""
