"""The search for the best way to train."""
