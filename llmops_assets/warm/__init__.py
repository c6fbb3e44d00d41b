"""Processes that have imported what others need, and fork for each that asks: nobody waits for imports."""
