"""Transformations around another."""
