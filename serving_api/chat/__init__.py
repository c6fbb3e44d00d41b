"""The hot path: the only asynchronous code."""
