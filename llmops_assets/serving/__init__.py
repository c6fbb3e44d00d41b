"""Serving: the local runtime, and the assets that bring endpoints to their desired state."""
