"""What the soak is made of: programs that are killed, clients that keep count, and the books that are compared."""
