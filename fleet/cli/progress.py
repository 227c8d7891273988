"""What a long command shows while it works: lines that stay, and bars on a terminal."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)


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
