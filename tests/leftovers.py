"""Processes that a test session started and left behind."""

import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

GRACE_S = 20.0
# Every child inherits it, orphans too, whoever their parent is by then. It must not begin with
# FLEET_, for settings refuse names that they do not know.
MARK = "OVERBOOK_TESTS"
# Python's own helper lives as long as the process that used shared memory.
HARMLESS = "multiprocessing.resource_tracker"


class Leftover(NamedTuple):
    pid: int
    command: str


def running(mark: str) -> list[Leftover]:
    """List processes other than this one that carry `mark` in their environment (Linux only)."""
    wanted = f"{MARK}={mark}".encode()
    found: list[Leftover] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            command = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
        except OSError:  # it ended, or belongs to someone else
            continue
        if int(folder.name) != os.getpid() and HARMLESS not in command:
            found.append(Leftover(int(folder.name), command.strip()))
    return found


def end_all(mark: str) -> list[Leftover]:
    """Give what still runs a moment to end, kill the rest, and return what had to be killed."""
    give_up = time.monotonic() + GRACE_S
    while (left := running(mark)) and time.monotonic() < give_up:
        time.sleep(0.05)
    for process in left:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return left
