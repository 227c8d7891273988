"""Ctrl-C and SIGTERM for a command that runs until it is told to stop."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """What a signal does: before `arm` it cancels the command, then it asks it to stop.

    A second signal while the command stops calls `hasten`, if that is set.
    """

    def __init__(self, task: "asyncio.Task[object] | None") -> None:
        self._task = task
        self._asked = asyncio.Event()
        self._armed = False
        self.hasten: Callable[[], None] | None = None

    async def asked(self) -> None:
        """From now on signals ask; wait for the first."""
        self._armed = True
        await self._asked.wait()

    def signal(self) -> None:
        """Take a signal."""
        if self._asked.is_set() and self.hasten is not None:
            self.hasten()
        elif self._armed:
            self._asked.set()
        elif self._task is not None:
            self._asked.set()
            self._task.cancel()


@contextmanager
def stopping() -> Iterator[Stopping]:
    """Take signals while the body runs, in the task that runs it."""
    loop, stop = asyncio.get_running_loop(), Stopping(asyncio.current_task())
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.signal)
    try:
        yield stop
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
