"""Attention inside documents that lie side by side, on one rank or spread over several."""
