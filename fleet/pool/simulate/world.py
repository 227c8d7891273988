"""The simulated world: a market, a queue and nodes, on which a policy acts as on real ones.

Time goes from event to event (a batch comes, ends or expires, a node becomes ready, the market
moves), and the policy is asked every `tick_s`, or after `soon_s` where something has happened.
"""

import math
from typing import Protocol

import msgspec

from fleet.job import CapacityType
from fleet.pool.decision import Launch, Release
from fleet.pool.simulate.arrivals import Arrival
from fleet.pool.simulate.market import HOUR_S, Market
from fleet.pool.simulate.nodes import Bill, Pool
from fleet.pool.simulate.queue import Queue
from fleet.pool.snapshot import (
    BecameReady,
    Happening,
    Launched,
    LaunchFailed,
    Load,
    Reclaimed,
    Snapshot,
    Zone,
)


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How the world works. startup_s: from launch to ready, paid for.

    lost_s: work that a ready node loses with a reclaim. item_s: node-seconds of one job. tick_s,
    soon_s: between two looks of the policy, when nothing happens and when something has.
    sample_s: between two points of the picture.
    """

    startup_s: float = 600.0
    lost_s: float = 60.0
    item_s: float = 30.0
    tick_s: float = 120.0
    soon_s: float = 15.0
    sample_s: float = 3600.0


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy wants done. batch_fallback: whether on-demand nodes work for batches."""

    launches: tuple[Launch, ...] = ()
    releases: tuple[Release, ...] = ()
    batch_fallback: bool = True


class Policy(Protocol):
    """What the world needs of a policy."""

    def __call__(self, snapshot: Snapshot) -> Orders:
        """Look, remember and decide."""
        ...


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One moment of the picture. at: seconds. available: spot nodes to be had. waiting_h: work."""

    at: float
    available: int
    spot: int
    on_demand: int
    waiting_h: float


class World:
    """One run of one policy. After `run`, what it did stands in the attributes."""

    def __init__(
        self, market: Market, arrivals: tuple[Arrival, ...], policy: Policy, rules: Rules
    ) -> None:
        self.market = market
        self.queue = Queue(arrivals, item_s=rules.item_s)
        self.spot = [Pool() for _ in market.zones]
        self.on_demand = [Pool() for _ in market.zones]
        self.bills: dict[CapacityType, Bill] = {"spot": Bill(), "on-demand": Bill()}
        self.points: list[Point] = []
        self.starts = 0
        self.useful_s: dict[CapacityType, float] = {"spot": 0.0, "on-demand": 0.0}
        self._policy = policy
        self._rules = rules
        self._index = {zone.zone: i for i, zone in enumerate(market.zones)}
        self._fallback = False
        self._happened: list[Happening] = []
        self._tick = 0

    def run(self) -> None:
        """Live from the first tick of the market to its last."""
        now, look_at, sample_at, market_at = 0.0, 0.0, 0.0, 0.0
        while now < self.market.horizon_s:
            if now >= market_at:
                self._tick = round(now / self.market.gap_s)
                market_at = min((self._tick + 1) * self.market.gap_s, self.market.horizon_s)
                self._reclaim(now)
            if now >= look_at or self._happened:
                self._act(now)
                look_at = now + (self._rules.soon_s if self._happened else self._rules.tick_s)
            if now >= sample_at:
                self._sample(now)
                sample_at += self._rules.sample_s
            until = min(market_at, look_at)
            self._live(now, until)
            now = until
        self.queue.move_to(now)

    def _act(self, now: float) -> None:
        snapshot = self._look(now)
        self._happened = []
        orders = self._policy(snapshot)
        self._fallback = orders.batch_fallback
        for one in orders.releases:
            self._pools(one.capacity_type)[self._index[one.zone]].drop(one.count)
        for launch in orders.launches:
            self._launch(launch, now)

    def _launch(self, launch: Launch, now: float) -> None:
        zone = self._index[launch.zone]
        pool = self._pools(launch.capacity_type)[zone]
        granted = launch.count
        if launch.capacity_type == "spot":
            free = self.market.zones[zone].counts[self._tick] - pool.held
            granted = max(0, min(granted, free))
        if granted:
            pool.launch(granted, now + self._rules.startup_s)
            self.starts += granted
        kind = Launched if granted == launch.count else LaunchFailed
        self._happened.append(kind(zone=launch.zone, at=now, capacity_type=launch.capacity_type))

    def _reclaim(self, now: float) -> None:
        """Take away what the market has no longer."""
        for trace, pool in zip(self.market.zones, self.spot, strict=True):
            gone = pool.held - trace.counts[self._tick]
            if gone <= 0:
                continue
            ready = pool.reclaim(gone)
            lost_s = self.queue.undo(ready * self._rules.lost_s)
            lost_usd = lost_s / HOUR_S * trace.price(self._tick)
            bill = self.bills["spot"]
            bill.lost += lost_usd
            bill.useful -= lost_usd
            self.useful_s["spot"] -= lost_s
            self._happened.append(Reclaimed(zone=trace.zone, at=now, count=gone))

    def _live(self, begin: float, end: float) -> None:
        """Let time pass, event by event; nobody decides anything meanwhile."""
        now = begin
        while now < end:
            self._become_ready(now)
            self.queue.move_to(now)
            until = min(end, self._next_ready(), self.queue.next_event())
            spot = sum(pool.ready for pool in self.spot)
            on_demand = sum(pool.ready for pool in self.on_demand) if self._fallback else 0
            busy_s = self.queue.serve(now, until, spot + on_demand)
            self.useful_s["spot"] += spot * busy_s
            self.useful_s["on-demand"] += on_demand * busy_s
            self._pay(until - now, busy_s / (until - now))
            now = until

    def _pay(self, seconds: float, busy: float) -> None:
        for trace, spot, on_demand in zip(
            self.market.zones, self.spot, self.on_demand, strict=True
        ):
            if spot.held:
                spot.pay(seconds, trace.price(self._tick), busy, self.bills["spot"])
            if on_demand.held:
                works = busy if self._fallback else 0.0
                on_demand.pay(seconds, trace.on_demand_usd, works, self.bills["on-demand"])

    def _become_ready(self, now: float) -> None:
        for kind in ("spot", "on-demand"):
            for trace, pool in zip(self.market.zones, self._pools(kind), strict=True):
                if pool.starting and pool.promote(now):
                    self._happened.append(BecameReady(zone=trace.zone, at=now, capacity_type=kind))

    def _next_ready(self) -> float:
        return min(
            (pool.starting[0][0] for pool in (*self.spot, *self.on_demand) if pool.starting),
            default=math.inf,
        )

    def _pools(self, kind: CapacityType) -> list[Pool]:
        return self.spot if kind == "spot" else self.on_demand

    def _look(self, now: float) -> Snapshot:
        self._become_ready(now)
        self.queue.move_to(now)
        idle = not self.queue
        return Snapshot(
            now=now,
            work=self.queue.work(),
            zones=tuple(
                Zone(
                    name=trace.zone,
                    spot=spot.count(idle=idle),
                    on_demand=on_demand.count(idle=idle or not self._fallback),
                    spot_usd=trace.price(self._tick),
                    on_demand_usd=trace.on_demand_usd,
                    # Half a reclaim in ten hours is what we believe before we have seen any.
                    reclaims_per_h=(spot.reclaimed + 0.5) / (spot.node_s / HOUR_S + 10),
                )
                for trace, spot, on_demand in zip(
                    self.market.zones, self.spot, self.on_demand, strict=True
                )
            ),
            load=Load(busy=0.0),
            startup_s=self._rules.startup_s,
            item_s=self._rules.item_s,
            happened=tuple(self._happened),
            order="arrival",
        )

    def _sample(self, now: float) -> None:
        self.points.append(
            Point(
                at=now,
                available=sum(trace.counts[self._tick] for trace in self.market.zones),
                spot=sum(pool.held for pool in self.spot),
                on_demand=sum(pool.held for pool in self.on_demand),
                waiting_h=self.queue.left_s / HOUR_S,
            )
        )
