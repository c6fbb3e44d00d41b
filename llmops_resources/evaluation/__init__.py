"""Benchmarks, scorers and evaluation runs."""
