"""The network, and how it is fitted."""
