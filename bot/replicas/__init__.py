"""Several processes as one bot."""
