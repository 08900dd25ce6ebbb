"""From what a person typed to frames of the live stream: reference, resolve, playlist, keyframes, sampler."""
