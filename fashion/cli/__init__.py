"""A command's process: its error messages, and when it ends."""
