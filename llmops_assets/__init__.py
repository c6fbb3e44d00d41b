"""WORKS: Dagster and the programs it runs; everything that takes longer than a request."""
