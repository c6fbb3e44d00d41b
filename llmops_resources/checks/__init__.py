"""Structure, PII and quality of uploaded data."""
