"""What came from a version, across all rooms; taking a version back, or away."""
