"""The policies that are compared: ours as it is, and what others do, each in its own shape.

A rival says how many nodes it wants. Where they stand is settled as ours does it, so that the
difference is in the numbers alone; but SpotHedge, which is as much about zones, places its own.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

from fleet.job import CapacityType
from fleet.pool.decision import Launch, Memory, Release
from fleet.pool.knobs import Knobs
from fleet.pool.policy import decide
from fleet.pool.policy_zones import give_back
from fleet.pool.simulate.placers import LOTS, Cautious, Hedging, Placer, held, useful_usd
from fleet.pool.simulate.world import Orders, Policy
from fleet.pool.snapshot import Snapshot, Work

# A start-up until a node works, and one more for luck: later it is too late.
MARGIN: Final = 2.0
# SpotHedge's spares beside its level.
SPARES: Final = 2


class Wanted(NamedTuple):
    """How many nodes of each kind a rival wants."""

    spot: int
    on_demand: int


Rule: TypeAlias = Callable[[Snapshot, Knobs], Wanted]


class Overbook:
    """The policy in production, with what it remembers."""

    def __init__(self, knobs: Knobs) -> None:
        self._knobs = knobs
        self._memory = Memory()

    def __call__(self, snapshot: Snapshot) -> Orders:
        """Decide, and remember."""
        decision = decide(snapshot, self._knobs, self._memory)
        self._memory = decision.memory
        return Orders(
            launches=decision.launches,
            releases=decision.releases,
            batch_fallback=decision.batch_fallback,
        )


class Rival:
    """A rule for numbers, and a placer for zones."""

    def __init__(self, rule: Rule, placer: Placer, knobs: Knobs) -> None:
        self._rule = rule
        self._placer = placer
        self._knobs = knobs

    def __call__(self, snapshot: Snapshot) -> Orders:
        """Turn numbers into launches and releases; without work, nothing is kept."""
        self._placer.hear(snapshot)
        wanted = self._rule(snapshot, self._knobs) if snapshot.work else Wanted(0, 0)
        spot = min(wanted.spot, self._knobs.most_spot)
        on_demand = min(wanted.on_demand, self._knobs.most_on_demand)
        kinds: tuple[tuple[CapacityType, int], ...] = (("spot", spot), ("on-demand", on_demand))
        launches: list[Launch] = []
        releases: list[Release] = []
        for kind, count in kinds:
            missing = count - sum(held(zone, kind).held for zone in snapshot.zones or ())
            if missing > 0:
                launches += (
                    Launch(capacity_type=kind, zone=zone, count=many, why="")
                    for zone, many in self._placer.place(snapshot, kind, missing)
                )
            elif missing < 0:
                releases += _releases(snapshot, kind, -missing)
        return Orders(launches=tuple(launches), releases=tuple(releases))


def on_demand_only(snapshot: Snapshot, knobs: Knobs) -> Wanted:
    """Take no spot at all: as many on-demand nodes as the deadlines require."""
    del knobs
    rate = ahead_s = 0.0
    for work in snapshot.work or ():
        ahead_s += _size_s(work)
        rate = max(rate, ahead_s / max(_left_s(snapshot, work), 1.0))
    return Wanted(0, math.ceil(rate - 1e-9))


def spot_only(snapshot: Snapshot, knobs: Knobs) -> Wanted:
    """Take all the spot that may be had, and nothing else."""
    del snapshot
    return Wanted(knobs.most_spot, 0)


def greedy(snapshot: Snapshot, knobs: Knobs) -> Wanted:
    """Take all the spot that may be had; on-demand nodes once a deadline leaves no other way.

    That is when half of the on-demand nodes that may be had, beginning now, would be only just
    enough: the safety net of "Can't Be Late", for a queue instead of one job.
    """
    burst = max(1.0, knobs.most_on_demand / 2)
    needed = ahead_s = 0.0
    for work in snapshot.work or ():
        ahead_s += _size_s(work)
        left_s = _left_s(snapshot, work)
        if left_s < ahead_s / burst:
            needed = max(needed, ahead_s / max(left_s, 1.0))
    return Wanted(knobs.most_spot, math.ceil(needed - 1e-9))


def spothedge(level: int) -> Rule:
    """Hold a level with spares, on-demand for the spot that is not ready.

    The shape of SkyServe's policy, which is made to serve a constant load and knows no deadlines.
    """

    def rule(snapshot: Snapshot, knobs: Knobs) -> Wanted:
        del knobs
        ready = sum(zone.spot.ready for zone in snapshot.zones or ())
        return Wanted(level + SPARES, max(0, level - ready))

    return rule


def policies(knobs: Knobs, *, mean_nodes: float) -> Mapping[str, Callable[[], Policy]]:
    """Name all that are compared. mean_nodes: what the work keeps busy on average."""
    hedge = spothedge(math.ceil(mean_nodes) + 1)
    return {
        "overbook": lambda: Overbook(knobs),
        "greedy": lambda: Rival(greedy, Cautious(knobs), knobs),
        "spothedge": lambda: Rival(hedge, Hedging(), knobs),
        "spot_only": lambda: Rival(spot_only, Cautious(knobs), knobs),
        "on_demand_only": lambda: Rival(on_demand_only, Cautious(knobs), knobs),
    }


def _size_s(work: Work) -> float:
    return work.items * (work.item_s or 0.0)


def _left_s(snapshot: Snapshot, work: Work) -> float:
    deadline = math.inf if work.deadline is None else work.deadline
    return deadline - snapshot.now - MARGIN * (snapshot.startup_s or 0.0)


def _releases(snapshot: Snapshot, kind: CapacityType, nodes: int) -> Iterator[Release]:
    lot = max(1, nodes // LOTS)
    options = []
    for zone in snapshot.zones or ():
        here = held(zone, kind)
        loose = here.starting + here.idle
        options.append(
            (zone.name, useful_usd(zone, kind, snapshot), here.held // lot, loose // lot)
        )
    for name, count in sorted(Counter(give_back(options, nodes // lot)).items()):
        yield Release(capacity_type=kind, zone=name, count=count * lot, why="")
