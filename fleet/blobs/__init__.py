"""Stores for what is too large for a message."""
