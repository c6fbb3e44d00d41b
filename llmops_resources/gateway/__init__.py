"""Routes and usage of the one chat API."""
