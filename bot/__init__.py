"""The bot: settings, commands and the chats people ask it in."""
