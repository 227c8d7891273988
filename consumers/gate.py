"""Who may use the engine beside whom: a job that is suspected of killing it runs alone."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

WAIT_S = 0.5


class Gate:
    """Many jobs at once, or one alone.

    While one waits to be alone or is, no other begins: it is given back, for other consumers have
    room. So a crash convicts the item that ran, and no neighbour.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._alone = 0
        self._alone_runs = False
        self._changed = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether a job runs alone, or waits to."""
        return self._alone > 0

    @contextmanager
    def shared(self) -> Iterator[bool]:
        """Run beside others; False if one wants to be alone."""
        if self.closed:
            yield False
            return
        self._inside += 1
        try:
            yield True
        finally:
            self._inside -= 1
            self._changed.set()

    @asynccontextmanager
    async def alone(self, give_up: Callable[[], bool]) -> AsyncIterator[bool]:
        """Wait until nobody else runs; False when `give_up` says so before.

        give_up is asked every WAIT_S seconds.
        """
        self._alone += 1
        try:
            while (self._inside or self._alone_runs) and not give_up():
                await self._wait()
            if give_up():
                yield False
                return
            self._alone_runs = True
            try:
                yield True
            finally:
                self._alone_runs = False
        finally:
            self._alone -= 1
            self._changed.set()

    async def _wait(self) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(WAIT_S):
                await self._changed.wait()
        except TimeoutError:
            return
