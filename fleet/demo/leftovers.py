"""Processes that a fleet on this machine left behind."""

from collections.abc import Iterable
from pathlib import Path

_SESSION = 3  # in /proc/PID/stat behind the command's closing bracket: state ppid pgrp session


def left_behind(sessions: Iterable[int]) -> tuple[int, ...]:
    """Return the pids of processes that live in one of the sessions, zombies left out.

    Each consumer leads a session of its own, which its engine's processes share. Without /proc, as
    on macOS, nothing can be seen and nothing is returned.
    """
    wanted = set(sessions)
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        if fields[0] != "Z" and int(fields[_SESSION]) in wanted:
            found.append(int(stat.parent.name))
    return tuple(sorted(found))
