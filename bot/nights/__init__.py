"""The nightly collection: by the clock, by hand, and on other machines."""
