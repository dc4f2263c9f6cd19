"""Tensor parallel: one model cut over several processes."""
