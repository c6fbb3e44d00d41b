"""`llmops demo`: from raw data to a chat through the HTTP API alone, picking up whatever an earlier run left."""
