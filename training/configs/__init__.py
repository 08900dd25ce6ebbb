"""Presets: each module is one complete way to train, with what to expect from it."""
