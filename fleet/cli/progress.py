"""What a long command shows while it works: lines that stay, and bars on a terminal."""

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import BinaryIO, Final, Self, TypeAlias

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from fleet.job import MIB

# What is quicker needs no bar.
QUIET_S: Final = 2.0
Report: TypeAlias = Callable[[str, int, int], None]


class Show:
    """`with Show() as show`: `say` writes a line to stderr, `bar` draws how far something is.

    On anything but a terminal there are only the lines.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._bars: dict[str, TaskID] = {}

    def say(self, text: str) -> None:
        """Write a line with the seconds since the start."""
        seconds = time.monotonic() - self._began
        self._console.print(f"[{seconds:6.1f} s] {text}", markup=False, soft_wrap=True)

    def bar(self, name: str, done: int, total: int) -> None:
        """Draw `done` of `total`; the bar appears with its first call."""
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._bars[name], completed=done, total=total)

    def close(self) -> None:
        """Take the bars away."""
        self._progress.stop()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@contextmanager
def slow() -> Iterator[Report]:
    """Take how far something is, by name, and draw it once it has taken QUIET_S."""
    began = time.monotonic()
    with Show() as show:

        def report(name: str, done: int, total: int) -> None:
            if time.monotonic() - began > QUIET_S:
                show.bar(name, done, total)

        yield report


class Measured(io.BufferedReader):
    """Reads the lines of a file from its beginning, and tells how much of it is read."""

    def __init__(self, file: BinaryIO, report: Report) -> None:
        super().__init__(io.FileIO(file.fileno(), closefd=False))
        self._report = report
        self._size = os.fstat(file.fileno()).st_size
        self._read = 0
        self.seek(0)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read a line, or `size` bytes of it."""
        line = super().readline(size)
        before, self._read = self._read, self._read + len(line)
        if self._read // MIB > before // MIB:
            self._report("MiB read", self._read // MIB, self._size // MIB)
        return line
