"""When this consumer has to let go of what it runs."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Drain:
    """Set once by a notice; tells everybody that no more is pulled, and when running work ends.

    grace_s: how long running items may go on before they are saved and handed over.
    """

    def __init__(self, *, grace_s: float) -> None:
        self.begun = asyncio.Event()
        self.cause = ""
        self._grace_s = grace_s
        self._until = float("inf")
        self._sleepers: set[asyncio.Event] = set()

    def begin(self, cause: str) -> None:
        """Begin to drain; a second notice hastens it: everything is saved now."""
        now = time.monotonic()
        self._until = now if self.begun.is_set() else now + self._grace_s
        self.cause = self.cause or cause
        self.begun.set()
        for sleeper in self._sleepers:
            sleeper.set()

    @contextmanager
    def wakes(self, sleeper: asyncio.Event) -> Iterator[None]:
        """Set `sleeper` whenever a notice comes while the body runs."""
        self._sleepers.add(sleeper)
        try:
            yield
        finally:
            self._sleepers.discard(sleeper)

    @property
    def left_s(self) -> float:
        """Seconds until running work is saved; infinite while nobody gave notice."""
        return self._until - time.monotonic()
