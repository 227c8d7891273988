"""`fleet setup`: install the real engine, and make small models for it."""

from consumers.setup.command import command

__all__ = ["command"]
