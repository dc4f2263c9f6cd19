"""Tools an agent may call: each one is a file, declared with ``contracts.tool.tool``."""
