"""Data sets: where frames lie, what they show, and which part they are in."""
