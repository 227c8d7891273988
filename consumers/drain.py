"""Until when this consumer may pull, and until when what it runs may go on."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fleet.notice import Notice


class Drain:
    """Set by notices; tells everybody that no more is pulled, and when running work ends.

    grace_s: what a notice without a deadline leaves (SIGTERM: the pod's grace period). reserve_s:
    the end of the time left, kept for saving and handing over.
    """

    def __init__(self, *, grace_s: float, reserve_s: float = 0.0) -> None:
        self.begun = asyncio.Event()
        self.withdrawn = asyncio.Event()
        self.cause = ""
        self.takes_long_work = True
        self._signalled = False
        self._grace_s = grace_s
        self._reserve_s = reserve_s
        self._deadline = float("inf")
        self._sleepers: set[asyncio.Event] = set()

    def hear(self, notice: Notice) -> bool:
        """Take a notice in; say whether it changed anything, for notices are repeated.

        The earliest deadline counts, and a second signal means now.
        """
        changed = self._take(notice)
        if changed:
            for sleeper in self._sleepers:
                sleeper.set()
        return changed

    @contextmanager
    def wakes(self, sleeper: asyncio.Event) -> Iterator[None]:
        """Set `sleeper` whenever a notice changes something while the body runs."""
        self._sleepers.add(sleeper)
        try:
            yield
        finally:
            self._sleepers.discard(sleeper)

    @property
    def is_final(self) -> bool:
        """Whether an operator said go: nobody needs to wait for the end of the time left."""
        return self.cause in {"signal", "command"}

    @property
    def left_s(self) -> float:
        """Seconds until the node vanishes; infinite while nobody gave notice."""
        return self._deadline - time.monotonic()

    @property
    def save_in_s(self) -> float:
        """Seconds until running work is saved and handed over."""
        return self.left_s - self._reserve_s

    def _take(self, notice: Notice) -> bool:
        now = time.monotonic()
        if notice.kind == "rebalance":
            changed, self.takes_long_work = self.takes_long_work, False
            return changed
        if notice.kind == "withdrawn":
            return self._withdraw()
        if notice.deadline is not None:
            deadline = notice.deadline
        elif self.begun.is_set() and notice.source == "signal":
            deadline = now
        else:
            deadline = now + self._grace_s
        changed = not self.begun.is_set() or deadline < self._deadline
        self._signalled = self._signalled or notice.source == "signal"
        self._deadline = min(self._deadline, deadline)
        self.cause = self.cause or notice.source
        self.withdrawn.clear()
        self.begun.set()
        return changed

    def _withdraw(self) -> bool:
        if self._signalled:  # Whoever sends SIGTERM goes on to SIGKILL, whatever a cloud says.
            return False
        changed = self.begun.is_set() or not self.takes_long_work
        self.begun.clear()
        self.withdrawn.set()
        self.cause, self.takes_long_work, self._deadline = "", True, float("inf")
        return changed
