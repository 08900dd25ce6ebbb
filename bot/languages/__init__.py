"""What the bot says in chats, a file for each language; bot/commands/wording.py says which sentence when."""
