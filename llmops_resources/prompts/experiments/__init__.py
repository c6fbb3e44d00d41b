"""A/B experiments over prompt versions: planned, run at a route, looked at at will, decided by a reviewer."""
