"""The data set grows: what to sample tonight, and how a night is carried out."""
