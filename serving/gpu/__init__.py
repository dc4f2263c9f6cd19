"""Kernels for GPUs, in Triton, and graphs of whole decode steps."""
