"""The `llmops` command: starts the platform's processes on one machine, and talks to its API like any other client."""
