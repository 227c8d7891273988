"""Notices in any order, again and again, withdrawn and renewed."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import consumers.drain
from consumers.drain import Drain
from fleet.notice import Notice

GRACE_S = 25.0


class Clock:
    """Stands in for the module `time` in `consumers.drain`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class DrainMachine(RuleBasedStateMachine):
    """earliest: the deadline that counts; None while nobody gave notice, or it was withdrawn."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self._real = vars(consumers.drain)["time"]
        vars(consumers.drain)["time"] = self.clock
        self.drain = Drain(grace_s=GRACE_S)
        self.earliest: float | None = None
        self.signalled = False

    def teardown(self) -> None:
        vars(consumers.drain)["time"] = self._real

    @rule(seconds=st.floats(0, 200))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(left_s=st.floats(0, 300), source=st.sampled_from(["aws", "gcp", "azure", "command"]))
    def announce(self, left_s: float, source: Any) -> None:
        """A notice with a deadline: the earliest counts, and equal ones change nothing."""
        deadline = self.clock.now + left_s
        notice = Notice(kind="terminate", source=source, deadline=deadline)
        is_news = self.earliest is None or deadline < self.earliest
        assert self.drain.hear(notice) == is_news
        assert self.drain.hear(notice) is False
        self._expect(deadline)

    @rule()
    def signal(self) -> None:
        """SIGTERM leaves the grace period; once draining, it means now."""
        notice = Notice(kind="terminate", source="signal")
        deadline = self.clock.now + (0.0 if self.drain.begun.is_set() else GRACE_S)
        self.drain.hear(notice)
        self.signalled = True
        self._expect(deadline)

    @rule()
    def recommend(self) -> None:
        """A rebalance recommendation ends no work."""
        before = self.drain.begun.is_set()
        self.drain.hear(Notice(kind="rebalance", source="aws"))
        assert not self.drain.takes_long_work
        assert self.drain.begun.is_set() == before

    @rule()
    def withdraw(self) -> None:
        """What a cloud takes back is void, but whoever sends SIGTERM goes on to SIGKILL."""
        notice = Notice(kind="withdrawn", source="azure")
        if self.signalled:
            assert self.drain.hear(notice) is False
            return
        self.drain.hear(notice)
        self.earliest = None
        assert self.drain.takes_long_work
        assert self.drain.hear(notice) is False

    @invariant()
    def the_earliest_deadline_counts(self) -> None:
        if self.earliest is None:
            assert not self.drain.begun.is_set()
            assert self.drain.left_s == float("inf")
        else:
            assert self.drain.begun.is_set()
            assert abs(self.drain.left_s - (self.earliest - self.clock.now)) < 1e-6
        assert self.drain.save_in_s <= self.drain.left_s

    def _expect(self, deadline: float) -> None:
        self.earliest = deadline if self.earliest is None else min(self.earliest, deadline)


TestDrain = DrainMachine.TestCase
TestDrain.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
