"""What people may ask, and what they are answered, on every platform alike."""
