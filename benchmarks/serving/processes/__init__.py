"""What ``benchmarks.serving.engine`` compares, each in a process of its own, as users run it."""
