"""ANSWERS: the FastAPI service and the chat gateway."""
