"""Request schemas and ten-line handlers, a module a room."""
