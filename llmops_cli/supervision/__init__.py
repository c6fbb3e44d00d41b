"""Running the platform's processes on one machine: what they are, whether they are well, and keeping them running."""
