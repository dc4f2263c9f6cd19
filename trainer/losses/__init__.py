"""Losses: functions of hidden states and labels that return sums, never means."""
