"""How a Dagster run becomes a process on one machine."""
