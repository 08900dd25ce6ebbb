"""Offline: from a folder of frames to a checked model directory. The bot never imports it."""
