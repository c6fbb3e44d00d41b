"""A sub-command for each room of the platform; each talks to the API alone."""
