"""Activation-aware weight quantisation: scales and clipping searched on calibration text."""
