"""From frames to a verdict: artifact, runtime, recognizer, aggregate."""
