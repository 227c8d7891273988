"""`fleet consumer on-demand|spot`: one consumer in the foreground."""

from consumers.command import command

__all__ = ["command"]
