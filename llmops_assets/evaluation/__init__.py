"""Evaluation: the program that scores a model, and the assets that run it."""
