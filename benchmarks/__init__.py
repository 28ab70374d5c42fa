"""Runnable measurements; `results/` keeps what they wrote."""
