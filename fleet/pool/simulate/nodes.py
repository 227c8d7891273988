"""Nodes in a simulation, counted by zone and kind, and the money that they cost."""

from collections import deque
from dataclasses import dataclass, field

import msgspec

from fleet.pool.simulate.market import HOUR_S
from fleet.pool.snapshot import Count


class Bill(msgspec.Struct, kw_only=True):
    """What nodes were paid for, in USD: the parts sum to `usd`.

    startup: from launch to ready. useful: work that stayed done. lost: work that a reclaim undid.
    idle: ready, and nothing to do.
    """

    usd: float = 0.0
    startup: float = 0.0
    useful: float = 0.0
    lost: float = 0.0
    idle: float = 0.0


@dataclass(slots=True)
class Pool:
    """Nodes of one kind in one zone. starting: (ready at, how many), the next to be ready first."""

    ready: int = 0
    starting: deque[tuple[float, int]] = field(default_factory=deque)
    coming: int = 0
    reclaimed: int = 0
    node_s: float = 0.0

    @property
    def held(self) -> int:
        """All that are paid for."""
        return self.ready + self.coming

    def launch(self, nodes: int, ready_at: float) -> None:
        """Add nodes that will be ready then; later launches are never ready earlier."""
        self.starting.append((ready_at, nodes))
        self.coming += nodes

    def promote(self, now: float) -> int:
        """Let those become ready whose time has come; return how many."""
        came = 0
        while self.starting and self.starting[0][0] <= now:
            came += self.starting.popleft()[1]
        self.coming -= came
        self.ready += came
        return came

    def drop(self, nodes: int) -> int:
        """Give nodes back, those that start first, the latest before the others.

        Return how many of them were ready.
        """
        left = self._drop_starting(nodes)
        left = min(left, self.ready)
        self.ready -= left
        return left

    def reclaim(self, nodes: int) -> int:
        """Lose nodes, starting and ready ones by their share; return how many were ready."""
        ready = min(self.ready, -(-nodes * self.ready // self.held))
        self.ready -= ready
        self.ready -= self._drop_starting(nodes - ready)
        self.reclaimed += nodes
        return ready

    def count(self, *, idle: bool) -> Count:
        """Show the pool to a policy."""
        return Count(starting=self.coming, ready=self.ready, idle=self.ready if idle else 0)

    def pay(self, seconds: float, usd_per_h: float, busy: float, bill: Bill) -> None:
        """Pay for some time, of which a ready node worked the share `busy`."""
        self.node_s += self.held * seconds
        each = seconds / HOUR_S * usd_per_h
        bill.usd += self.held * each
        bill.startup += self.coming * each
        bill.useful += self.ready * each * busy
        bill.idle += self.ready * each * (1 - busy)

    def _drop_starting(self, nodes: int) -> int:
        """Drop up to so many that start; return how many are still to be dropped."""
        while nodes and self.starting:
            ready_at, some = self.starting.pop()
            taken = min(nodes, some)
            nodes -= taken
            self.coming -= taken
            if some > taken:
                self.starting.append((ready_at, some - taken))
        return nodes
