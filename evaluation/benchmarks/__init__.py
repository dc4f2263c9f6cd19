"""Benchmark files that ship; ``evaluation.benchmark`` reads them."""
