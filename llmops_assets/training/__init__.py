"""Training: the program that trains, and the assets that run it."""
