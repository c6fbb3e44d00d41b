"""Scores of answers against the expected ones, by the reference libraries where there is one. Pure functions."""
