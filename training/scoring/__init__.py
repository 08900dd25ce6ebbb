"""How good it is, in figures and tables."""
