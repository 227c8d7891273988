"""Where the nodes of a rival go: as ours do, or as SpotHedge's do."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol, TypeAlias

from fleet.job import CapacityType
from fleet.pool.decision import Cooling
from fleet.pool.knobs import Knobs
from fleet.pool.policy_zones import active, cool, cost, place
from fleet.pool.snapshot import Count, Launched, LaunchFailed, Reclaimed, Snapshot, Zone

# More nodes than these are placed in lots; what does not fill one is placed at the next look.
LOTS: Final = 200

# A zone that may be asked: its name, what a node costs there, and how many are held.
Option: TypeAlias = tuple[str, float, int]
Choose: TypeAlias = Callable[[Sequence[Option], int], Iterator[str]]


class Placer(Protocol):
    """Chooses zones, and learns from what came of it."""

    def hear(self, snapshot: Snapshot) -> None:
        """Take in what happened since the last look."""
        ...

    def place(
        self, snapshot: Snapshot, kind: CapacityType, nodes: int
    ) -> Iterator[tuple[str, int]]:
        """Yield zones, and how many of these nodes each of them is asked for."""
        ...


class Cautious:
    """Ours: zones cool off for a while, none gets more than a third, dear ones get none."""

    def __init__(self, knobs: Knobs) -> None:
        self._knobs = knobs
        self._cooling: tuple[Cooling, ...] = ()

    def hear(self, snapshot: Snapshot) -> None:
        """Let zones that failed cool off."""
        self._cooling = cool(
            self._cooling, snapshot.happened, now=snapshot.now, tuning=self._knobs.tuning
        )

    def place(
        self, snapshot: Snapshot, kind: CapacityType, nodes: int
    ) -> Iterator[tuple[str, int]]:
        """Spread the nodes over the zones that are cheap enough and not cooling off."""
        zones = [zone for zone in snapshot.zones or () if self._is_sold(zone, kind)]
        names = [zone.name for zone in zones]
        open_to = active(names, kind, self._cooling, now=snapshot.now, tuning=self._knobs.tuning)
        options = [
            (zone.name, useful_usd(zone, kind, snapshot), held(zone, kind).held)
            for zone in zones
            if zone.name in open_to
        ]
        return _in_lots(options, nodes, place)

    def _is_sold(self, zone: Zone, kind: CapacityType) -> bool:
        if kind == "on-demand":
            return True
        ceiling = self._knobs.price_ceiling * (zone.on_demand_usd or 0.0)
        return zone.spot_usd is not None and zone.spot_usd < ceiling


class Hedging:
    """SpotHedge's: a zone is preempted from a reclaim or a refusal on until a launch succeeds.

    Of the zones that are not preempted those without a node go first, then the cheapest. With fewer
    than two of them all are asked again. On-demand nodes go where they cost least.
    """

    def __init__(self) -> None:
        self._preempted: set[str] = set()

    def hear(self, snapshot: Snapshot) -> None:
        """Move zones from list to list."""
        names = {zone.name for zone in snapshot.zones or ()}
        for one in sorted(snapshot.happened, key=lambda event: event.at):
            match one:
                case Reclaimed(zone=zone) | LaunchFailed(zone=zone, capacity_type="spot"):
                    self._preempted.add(zone)
                case Launched(zone=zone, capacity_type="spot"):
                    self._preempted.discard(zone)
                case _:
                    pass
            if len(names - self._preempted) < 2:
                self._preempted.clear()

    def place(
        self, snapshot: Snapshot, kind: CapacityType, nodes: int
    ) -> Iterator[tuple[str, int]]:
        """Place spot where there is none yet, and on-demand where it costs least."""
        priced = [(zone, _usd(zone, kind)) for zone in snapshot.zones or ()]
        options = [
            (zone.name, usd, held(zone, kind).held)
            for zone, usd in priced
            if usd is not None and (kind == "on-demand" or zone.name not in self._preempted)
        ]
        return _in_lots(options, nodes, _unused if kind == "spot" else _cheapest)


def held(zone: Zone, kind: CapacityType) -> Count:
    """Return the nodes of a kind in a zone."""
    return zone.spot if kind == "spot" else zone.on_demand


def useful_usd(zone: Zone, kind: CapacityType, snapshot: Snapshot) -> float:
    """Price a useful hour; a zone without a price comes last."""
    usd = _usd(zone, kind)
    if usd is None:
        return float("inf")
    return cost(zone, usd, snapshot.startup_s or 0.0) if kind == "spot" else usd


def _usd(zone: Zone, kind: CapacityType) -> float | None:
    return zone.spot_usd if kind == "spot" else zone.on_demand_usd


def _in_lots(options: Sequence[Option], nodes: int, choose: Choose) -> Iterator[tuple[str, int]]:
    if not options:
        return
    lot = max(1, nodes // LOTS)
    lots = Counter(choose([(name, usd, own // lot) for name, usd, own in options], nodes // lot))
    for name, many in sorted(lots.items()):
        yield name, many * lot


def _unused(options: Sequence[Option], nodes: int) -> Iterator[str]:
    own = {name: many for name, _, many in options}
    usd = {name: price for name, price, _ in options}
    for _ in range(nodes):
        name = min(own, key=lambda one: (own[one] > 0, usd[one], one))
        own[name] += 1
        yield name


def _cheapest(options: Sequence[Option], nodes: int) -> Iterator[str]:
    name, _, _ = min(options, key=lambda one: (one[1], one[0]))
    yield from [name] * nodes
