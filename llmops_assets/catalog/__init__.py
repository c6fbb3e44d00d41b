"""The catalog's work: models brought in from elsewhere."""
