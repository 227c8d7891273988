"""The dashboard at 1,000 nodes, 200 queues, 10,000 jobs: time, memory, bytes to the terminal.

Everything that changes does so every second. The screen runs in a pty, and each view is looked at
for a while; bytes are what came through the pty, and the busiest view counts.
"""

import fcntl
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from fleet.children import die_with_parent
from tests.bench.report import Figure, Options, at_most, percentile, say
from tests.bench.screen_app import Report

SIZES: Final = ((80, 24), (200, 50))
VIEWS: Final = {"1": "fleet", "2": "queue", "3": "jobs", "4": "cost", "5": "events"}
NODES, QUEUES, JOBS = 1_000, 200, 10_000
MOST_BYTES_PER_S: Final = 20_000
MOST_UPDATE_MS: Final = 100.0
MOST_START_S: Final = 1.0
# The first picture of a view draws all of it; what comes after is what a second costs.
SETTLE_S: Final = 3.0
BOUND_S: Final = 60.0


async def measure(options: Options) -> Sequence[Figure]:
    """Look at every view at two sizes."""
    look_s = 3.0 if options.quick else 15.0
    figures: list[Figure] = []
    for size in SIZES:
        bytes_per_s, report = _watch(size, look_s)
        where = f"{size[0]}x{size[1]}"
        say(f"{where}: {bytes_per_s}")
        busiest = max(bytes_per_s, key=lambda view: bytes_per_s[view])
        note = ", ".join(f"{view} {count:.0f}" for view, count in bytes_per_s.items())
        sent = Figure(
            name=f"bytes_{where}_{busiest}", value=round(bytes_per_s[busiest]), unit="bytes/s",
            note=note,
        )  # fmt: skip
        updates, cpu = report.update_ms, report.cpu_ms
        update = Figure(
            name=f"update_{where}", value=round(statistics.median(updates), 1), unit="ms",
            note=f"{len(updates)} pictures, p99 {percentile(updates, 99):.1f} ms; of the processor "
            f"{statistics.median(cpu):.1f} ms, p99 {percentile(cpu, 99):.1f} ms",
        )  # fmt: skip
        start = Figure(name=f"start_{where}", value=round(report.start_s, 2), unit="s")
        figures += [
            at_most(MOST_BYTES_PER_S, sent),
            at_most(MOST_UPDATE_MS, update),
            at_most(MOST_START_S, start),
            Figure(name=f"memory_{where}", value=round(report.rss_mib, 1), unit="MiB"),
        ]
    return figures


def _watch(size: tuple[int, int], look_s: float) -> tuple[dict[str, float], Report]:
    """Run the screen in a pty of that size; count what each view sends."""
    with tempfile.TemporaryDirectory(prefix="overbook-") as folder:
        file = Path(folder, "report.json")
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.screen_app", str(file),
             *map(str, (NODES, QUEUES, JOBS))],
            stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=die_with_parent,
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
        )  # fmt: skip
        os.close(theirs)
        try:
            _read_until(ours, lambda seen: seen > 2_000)
            counts = {}
            for key, view in VIEWS.items():
                os.write(ours, key.encode())
                _count(ours, SETTLE_S)
                counts[view] = _count(ours, look_s) / look_s
            os.write(ours, b"q")
            _read_until(ours, lambda _: process.poll() is not None)
            return counts, msgspec.json.decode(file.read_bytes(), type=Report)
        finally:
            process.kill()
            process.wait()
            os.close(ours)


def _count(terminal: int, for_s: float) -> int:
    """Read for so long; return how many bytes came."""
    until, seen = time.monotonic() + for_s, 0
    while (left := until - time.monotonic()) > 0:
        seen += _read(terminal, left)
    return seen


def _read_until(terminal: int, enough: Callable[[int], bool]) -> None:
    give_up, seen = time.monotonic() + BOUND_S, 0
    while not enough(seen):
        if time.monotonic() > give_up:
            raise RuntimeError("the screen did not come up, or did not end")
        seen += _read(terminal, 0.1)


def _read(terminal: int, wait_s: float) -> int:
    if not select.select([terminal], [], [], wait_s)[0]:
        return 0
    try:
        return len(os.read(terminal, 1 << 16))
    except OSError:  # the other end is closed
        return 0
