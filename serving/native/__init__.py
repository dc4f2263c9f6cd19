"""Kernels in C++ for what lies between the products of a CPU forward."""
