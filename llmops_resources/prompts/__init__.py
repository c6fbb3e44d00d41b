"""Prompt templates: typed, sandboxed, versioned in the catalog like everything that is approved."""
