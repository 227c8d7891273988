"""What setup shows on stderr: one live line on a terminal, one plain line a step elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class Step:
    """One step in progress."""

    def __init__(self, bar: Progress | None, total: int | None) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=total, note="") if bar else None
        self._total = total
        self._done = 0

    def name(self, text: str) -> None:
        """Say what is being done."""
        if self._bar and self._task is not None:
            self._bar.update(self._task, description=text)

    def note(self, text: str) -> None:
        """Say what it is busy with right now."""
        if self._bar and self._task is not None:
            self._bar.update(self._task, note=text)

    def advance(self) -> None:
        """Count one more of the total; never beyond it."""
        self._done = min(self._done + 1, self._total or 0)
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=self._done)


class Report:
    """Tells a person how far setup is. stream: where to; it decides between live and plain."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._console = Console(file=stream, highlight=False)

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, text: str, *, total: int | None = None) -> Iterator[Step]:
        """Show a step while the body runs, and how long it took when it is done.

        total: how often `advance` will be called, if that is known.
        """
        began = time.monotonic()
        if self._console.is_terminal:
            with self._bar() as bar:
                step = Step(bar, total)
                step.name(text)
                yield step
        else:
            self.say(f"{text} ...")
            yield Step(None, total)
        self.say(f"{text}: {time.monotonic() - began:.1f} s")

    def _bar(self) -> Progress:
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            console=self._console,
            transient=True,
        )
