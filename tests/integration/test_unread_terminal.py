"""A terminal that takes nothing, as one behind a line that has stalled."""

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fleet.children import die_with_parent

ROOT = Path(__file__).parents[2]
BOUND_S = 60.0
# A queue to a terminal holds a few dozen pictures.
MANY = 60


def test_a_terminal_that_takes_nothing_stops_neither_the_watch_nor_the_end(tmp_path: Path) -> None:
    file = tmp_path / "looks"
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.unread", str(file)],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, preexec_fn=die_with_parent,
        env={**os.environ, "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(theirs)
    try:
        until(lambda: file.exists() and int(file.read_text() or 0) > MANY, "looks go on")
        os.write(ours, b"q")
        os.set_blocking(ours, False)
        until(lambda: taken(ours) or process.poll() is not None, "the end")
        assert process.wait() == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def taken(terminal: int) -> bool:
    """Take what there is, and tell that it is not over."""
    with suppress(OSError):  # nothing yet, or the other end is closed
        os.read(terminal, 1 << 16)
    return False


def until(holds: Callable[[], bool], what: str) -> None:
    give_up = time.monotonic() + BOUND_S
    while not holds():
        assert time.monotonic() < give_up, f"waited {BOUND_S:.0f} s in vain: {what}"
        time.sleep(0.02)
