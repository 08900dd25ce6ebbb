"""What is kept: rows in a database, frames as files beside it."""
