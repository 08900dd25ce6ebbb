"""What becomes of models while the bot runs."""
