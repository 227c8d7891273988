"""Until when this consumer may pull, and until when what it runs may go on."""

import asyncio
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from fleet.notice import Notice, NoticeSource


class Drain:
    """Set by notices; tells everybody that no more is pulled, and when running work ends.

    grace_s: what a notice without a deadline leaves (SIGTERM: the pod's grace period). reserve_s:
    the end of the time left, kept for saving and handing over.
    """

    def __init__(self, *, grace_s: float, reserve_s: float = 0.0) -> None:
        self.begun = asyncio.Event()
        self.withdrawn = asyncio.Event()
        self.takes_long_work = True
        self._grace_s = grace_s
        self._reserve_s = reserve_s
        # The earliest end that each source named, the source that spoke first at the front. Other
        # threads look at it, so it is replaced and never changed.
        self._ends: Mapping[NoticeSource, float] = {}
        self._sleepers: set[asyncio.Event] = set()

    def hear(self, notice: Notice) -> bool:
        """Take a notice in; say whether it changed anything, for notices are repeated.

        The earliest deadline counts, and a signal to a node that goes already means now.
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
    def cause(self) -> NoticeSource | Literal[""]:
        """Who gave notice first of those whose notice stands; empty while nobody did."""
        return next(iter(self._ends), "")

    @property
    def is_final(self) -> bool:
        """Whether an operator said go: nobody needs to wait for the end of the time left."""
        return not self._ends.keys().isdisjoint({"signal", "command"})

    @property
    def left_s(self) -> float:
        """Seconds until the node vanishes; infinite while nobody gave notice."""
        return self._end - time.monotonic()

    @property
    def save_in_s(self) -> float:
        """Seconds until running work is saved and handed over."""
        return self.left_s - self._reserve_s

    @property
    def _end(self) -> float:
        return min(self._ends.values(), default=math.inf)

    def _take(self, notice: Notice) -> bool:
        match notice.kind:
            case "rebalance":
                changed, self.takes_long_work = self.takes_long_work, False
                return changed
            case "withdrawn":
                return self._withdraw(notice.source)
            case "terminate":
                return self._go(notice)

    def _go(self, notice: Notice) -> bool:
        now, source = time.monotonic(), notice.source
        if notice.deadline is not None:
            end = notice.deadline
        elif self.begun.is_set() and source == "signal":
            end = now
        else:
            end = now + self._grace_s
        changed = end < self._end
        self._ends = {**self._ends, source: min(end, self._ends.get(source, math.inf))}
        self.withdrawn.clear()
        self.begun.set()
        return changed

    def _withdraw(self, source: NoticeSource) -> bool:
        """Take back what `source` said; what an operator says goes for all but signals.

        Whoever sends SIGTERM goes on to SIGKILL, whatever anybody says. Returns whether the node
        stays that was to go, or takes long work again.
        """
        if "signal" in self._ends:
            return False
        is_operator = source == "command"
        hinted = is_operator and not self.takes_long_work
        self.takes_long_work = self.takes_long_work or is_operator
        left = {one: end for one, end in self._ends.items() if not (is_operator or one == source)}
        went, self._ends = self.begun.is_set(), left
        if left:
            return False
        self.begun.clear()
        self.withdrawn.set()
        return went or hinted
