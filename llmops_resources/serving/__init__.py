"""Endpoints: what is wanted, what is observed, and the step between."""
