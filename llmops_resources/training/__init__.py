"""Recipes, jobs and experiments."""
