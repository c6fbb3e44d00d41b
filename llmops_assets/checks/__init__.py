"""Data sets as assets: checked in a run, with blocking checks."""
