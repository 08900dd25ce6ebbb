"""The platforms people ask on; each turns its own messages into Requests and Replies back."""
