"""Notices in any order, again and again, withdrawn and renewed."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import consumers.drain
from consumers.drain import Drain
from fleet.notice import Notice

GRACE_S = 25.0
SOURCES = st.sampled_from(["aws", "gcp", "azure", "command", "drill"])


class Clock:
    """Stands in for the module `time` in `consumers.drain`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class DrainMachine(RuleBasedStateMachine):
    """said: what deadlines each source named and did not take back."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self._real = vars(consumers.drain)["time"]
        vars(consumers.drain)["time"] = self.clock
        self.drain = Drain(grace_s=GRACE_S)
        self.said: dict[str, list[float]] = {}

    def teardown(self) -> None:
        vars(consumers.drain)["time"] = self._real

    @rule(seconds=st.floats(0, 200))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @property
    def earliest(self) -> float | None:
        return min((end for ends in self.said.values() for end in ends), default=None)

    @rule(left_s=st.floats(0, 300), source=SOURCES)
    def announce(self, left_s: float, source: Any) -> None:
        """A notice with a deadline: the earliest counts, and equal ones change nothing."""
        deadline = self.clock.now + left_s
        notice = Notice(kind="terminate", source=source, deadline=deadline)
        is_news = self.earliest is None or deadline < self.earliest
        assert self.drain.hear(notice) == is_news
        assert self.drain.hear(notice) is False
        self.said.setdefault(source, []).append(deadline)

    @rule()
    def signal(self) -> None:
        """SIGTERM leaves the grace period; once draining, it means now."""
        notice = Notice(kind="terminate", source="signal")
        deadline = self.clock.now + (0.0 if self.drain.begun.is_set() else GRACE_S)
        self.drain.hear(notice)
        self.said.setdefault("signal", []).append(deadline)

    @rule()
    def recommend(self) -> None:
        """A rebalance recommendation ends no work."""
        before = self.drain.begun.is_set()
        self.drain.hear(Notice(kind="rebalance", source="aws"))
        assert not self.drain.takes_long_work
        assert self.drain.begun.is_set() == before

    @rule(source=SOURCES)
    def withdraw(self, source: Any) -> None:
        """Each takes back its own word, an operator everybody's, and nobody a signal."""
        notice = Notice(kind="withdrawn", source=source)
        went, hinted = self.drain.begun.is_set(), not self.drain.takes_long_work
        stays = self.drain.hear(notice)
        if "signal" in self.said:
            assert not stays
            return
        self.said = {one: ends for one, ends in self.said.items() if source not in {one, "command"}}
        is_operator = source == "command"
        assert self.drain.takes_long_work == (is_operator or not hinted)
        assert stays == (not self.said and (went or (is_operator and hinted)))
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
        assert self.drain.cause == next(iter(self.said), "")


TestDrain = DrainMachine.TestCase
TestDrain.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
