"""What GameSpotter knows and does, without a chat platform, a settings file or a training library."""
