"""The engine is gone: what it ran has to go on elsewhere."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from fleet.errors import EngineDead


class Halt:
    """Set once, by whoever sees first that the engine is dead.

    Every job in hand is then saved and handed over, and only after that the error goes up: an
    exception among the jobs would cancel the neighbours of the one that noticed, unreleased.
    """

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.error: EngineDead | None = None
        self._sleepers: set[asyncio.Event] = set()

    def begin(self, error: EngineDead) -> None:
        """Stop all work; the first error stays."""
        self.error = self.error or error
        self.begun.set()
        for sleeper in self._sleepers:
            sleeper.set()

    @contextmanager
    def wakes(self, sleeper: asyncio.Event) -> Iterator[None]:
        """Set `sleeper` when it begins while the body runs."""
        self._sleepers.add(sleeper)
        try:
            yield
        finally:
            self._sleepers.discard(sleeper)
