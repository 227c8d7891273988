"""Whatever a snapshot says: no crash, no runaway launch, never below the baseline."""

from random import Random

import hypothesis.strategies as st
from hypothesis import given, settings

from fleet.job import CapacityType
from fleet.pool.decision import Decision, Memory
from fleet.pool.knobs import Knobs, Tuning
from fleet.pool.outlook import outlook
from fleet.pool.policy import decide
from fleet.pool.policy_realtime import HAIR
from fleet.pool.snapshot import (
    BecameReady,
    Count,
    Crashed,
    Happening,
    Launched,
    LaunchFailed,
    Load,
    Reclaimed,
    Refusal,
    Snapshot,
    Work,
    Zone,
)

INF, NAN = float("inf"), float("nan")
NAMES = ["a", "b", "c", "d"]
KINDS: tuple[CapacityType, ...] = ("spot", "on-demand")
ODD = (None, 0.0, -1.0, NAN, INF, -INF, 1e-300, 1e300)


class Chaos:
    """Makes up what no sane world would say. A seed makes one story, and a quick one."""

    def __init__(self, seed: int) -> None:
        self._dice = Random(seed)

    def snapshot(self) -> Snapshot:
        dice = self._dice
        works = tuple(
            self._work(name) for name in ("t.1", "t.2", "t.3", "t.4")[: dice.randrange(5)]
        )
        here = tuple(self._zone(name) for name in dice.sample(NAMES, dice.randrange(5)))
        return Snapshot(
            now=self._time(),
            work=None if dice.random() < 0.1 else works,
            zones=None if dice.random() < 0.1 else here,
            load=None if dice.random() < 0.3 else Load(busy=self._number(5), spare=self._number(2)),
            startup_s=self._maybe(1000),
            item_s=self._maybe(100),
            happened=tuple(self._happening() for _ in range(dice.randrange(5))),
            order=dice.choice(("deadline", "arrival")),
        )

    def knobs(self) -> Knobs:
        dice = self._dice
        return Knobs(
            most_spot=dice.randrange(30),
            most_on_demand=dice.randrange(10),
            baseline=dice.randrange(5),
            budget_usd_per_h=dice.choice((None, dice.uniform(0.5, 100))),
            price_ceiling=dice.uniform(0.1, 1),
            tuning=Tuning(launches_per_tick=dice.randint(1, 20)),
        )

    def _maybe(self, about: float) -> float | None:
        dice = self._dice
        return dice.choice(ODD) if dice.random() < 0.3 else dice.uniform(0, about)

    def _number(self, about: float) -> float:
        found = self._maybe(about)
        return 0.0 if found is None else found

    def _time(self) -> float:
        # Mostly looks in a row, at times a jump.
        return 1e6 + self._dice.choice((self._dice.uniform(0, 100), self._dice.uniform(-1e5, 1e5)))

    def _work(self, name: str) -> Work:
        dice = self._dice
        deadline = self._time() + dice.uniform(0, 1e5) if dice.random() < 0.8 else self._maybe(1e6)
        return Work(
            name=name, items=dice.choice((-5, 0, 1, dice.randrange(10**5), 10**12, 10**400)),
            deadline=deadline, item_s=self._maybe(10), submitted_at=self._time(),
        )  # fmt: skip

    def _zone(self, name: str) -> Zone:
        dice = self._dice
        return Zone(
            name=name, spot=self._count(), on_demand=self._count(), spot_usd=self._maybe(5),
            on_demand_usd=self._maybe(8), priced_at=dice.choice((None, self._time())),
            reclaims_per_h=self._number(3),
        )  # fmt: skip

    def _count(self) -> Count:
        dice = self._dice
        ready = dice.randrange(8)
        return Count(ready=ready, idle=dice.randint(0, ready), starting=dice.randrange(4),
                     leaving=dice.randrange(4))  # fmt: skip

    def _happening(self) -> Happening:
        dice = self._dice
        zone, at, kind = dice.choice(NAMES), self._time(), dice.choice(KINDS)
        refusals: tuple[Refusal, ...] = ("capacity", "quota", "throttled", "other")
        return dice.choice((
            Reclaimed(zone=zone, at=at, count=dice.randrange(5)),
            LaunchFailed(zone=zone, at=at, capacity_type=kind, refusal=dice.choice(refusals)),
            Launched(zone=zone, at=at, capacity_type=kind),
            Crashed(zone=zone, at=at, capacity_type=kind),
            BecameReady(zone=zone, at=at, capacity_type=kind),
        ))  # fmt: skip


@given(seed=st.integers(0, 2**32))
@settings(max_examples=600, deadline=None)
def test_no_snapshot_makes_a_crash_or_a_runaway_launch(seed: int) -> None:
    chaos, memory = Chaos(seed), Memory()
    knobs = chaos.knobs()
    for _ in range(4):
        seen = chaos.snapshot()
        decision = decide(seen, knobs, memory)
        memory = decision.memory
        assert memory.at in {seen.now, None}
        if seen.zones is None:
            assert not decision.launches
            assert not decision.releases
        else:
            check_steps(decision, seen, seen.zones, knobs)
        for one in seen.work or ():
            outlook(seen, knobs, decision, one.name)


def check_steps(decision: Decision, seen: Snapshot, zones: tuple[Zone, ...], knobs: Knobs) -> None:
    most = max(2 * knobs.baseline, knobs.baseline)
    assert knobs.baseline <= decision.realtime <= most
    by_name = {zone.name: zone for zone in zones}
    launches = sum(one.count for one in decision.launches)
    assert launches <= knobs.tuning.launches_per_tick
    for one in decision.launches:
        assert one.count > 0
        assert one.why
        assert one.zone in by_name
    given_back = {(one.zone, one.capacity_type): one.count for one in decision.releases}
    assert len(given_back) == len(decision.releases)
    kept = 0
    for zone in zones:
        assert given_back.get((zone.name, "spot"), 0) <= zone.spot.held
        gone = given_back.get((zone.name, "on-demand"), 0)
        assert gone <= zone.on_demand.held
        kept += zone.on_demand.held - gone
    held = sum(zone.on_demand.held for zone in zones)
    assert kept >= min(held, knobs.baseline), "never below the baseline"
    if seen.work is not None and decision.figures.startup_s:
        # Else it was held as it was.
        assert decision.spot <= knobs.most_spot
        assert decision.fallback <= knobs.most_on_demand
    assert decision.reasons
    check_spot_is_cheap(decision, by_name, knobs)
    check_budget(decision, by_name, knobs, held)


def check_spot_is_cheap(decision: Decision, zones: dict[str, Zone], knobs: Knobs) -> None:
    for one in decision.launches:
        if one.capacity_type == "spot":
            zone = zones[one.zone]
            assert zone.spot_usd is not None
            most = zone.on_demand_usd
            if most is None or not 0 < most < float("inf"):
                most = decision.memory.on_demand_usd
            assert most is not None
            assert zone.spot_usd < knobs.price_ceiling * most


def check_budget(
    decision: Decision, zones: dict[str, Zone], knobs: Knobs, held_on_demand: int
) -> None:
    """What is launched beyond the baseline is paid beside all that is there."""
    spent, usd = decision.figures.spend_usd_per_h, decision.memory.on_demand_usd
    if knobs.budget_usd_per_h is None or spent is None or usd is None:
        return
    on_demand = sum(one.count for one in decision.launches if one.capacity_type == "on-demand")
    beyond = max(0, on_demand - max(0, knobs.baseline - held_on_demand))
    spot_usd = sum(
        one.count * (zones[one.zone].spot_usd or 0.0)
        for one in decision.launches
        if one.capacity_type == "spot"
    )
    if beyond or spot_usd:
        assert spent + on_demand * usd + spot_usd <= knobs.budget_usd_per_h + HAIR


@given(seed=st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_the_same_arguments_give_the_same_decision(seed: int) -> None:
    decisions = set()
    for _ in range(2):
        chaos = Chaos(seed)
        decisions.add(str(decide(chaos.snapshot(), chaos.knobs(), Memory())))
    assert len(decisions) == 1
