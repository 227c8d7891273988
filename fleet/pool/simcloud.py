"""A cloud in this process: zones that sell out, markets that reclaim, an API with bad days.

It stands behind the same protocol as the real ones, so whatever runs a pool can be tried against
all that a cloud may do, in no time and for no money. Its clock is whoever made it.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Literal

import msgspec

from fleet.job import CapacityType
from fleet.pool.market import SpotHistory, SpotPrice
from fleet.pool.provider import (
    Fault,
    FaultKind,
    Granted,
    Machine,
    MachineEnd,
    Request,
    Terminated,
)

# What becomes of one call: a fault instead of it, or an answer that is lost behind it.
Fate = FaultKind | Literal["unheard"]


class SimZone(msgspec.Struct, frozen=True, kw_only=True):
    """What a zone has to sell. spot, on_demand: machines at most; None for any number.

    spot_usd, on_demand_usd: what one costs an hour.
    """

    name: str
    spot: int | None = None
    on_demand: int | None = None
    spot_usd: float = 1.0
    on_demand_usd: float = 2.5


class SimCloud:
    """Machines that are entries in a table.

    start_s: from launch to running. notice_s: between the notice of a reclaim and the end. list_s:
    how long the list lags behind what was launched. now: seconds since the epoch. fates: of the
    next calls, one each; what follows goes well.
    """

    def __init__(
        self,
        zones: Collection[SimZone],
        *,
        now: Callable[[], float],
        pool: str = "sim",
        start_s: float = 120.0,
        notice_s: float = 120.0,
        list_s: float = 0.0,
        instance_type: str = "sim.gpu",
    ) -> None:
        self._zones = {zone.name: zone for zone in zones}
        self._offers = [(now(), zone) for zone in zones]
        self._now = now
        self._pool = pool
        self._start_s = start_s
        self._notice_s = notice_s
        self._list_s = list_s
        self._instance_type = instance_type
        self._machines: dict[str, Machine] = {}
        self.fates: list[Fate] = []
        self.calls: list[str] = []

    async def list(self) -> tuple[Machine, ...] | Fault:
        """List all machines, those that ended included."""
        fate = self._fate("list")
        self._settle()
        if fate is not None:
            return _fault(fate)
        now = self._now()
        return tuple(one for one in self._machines.values() if now - one.started_at >= self._list_s)

    async def launch(self, request: Request) -> Granted:
        """Start what the zone has left."""
        fate = self._fate("launch")
        self._settle()
        if fate is not None and fate != "unheard":
            return Granted(asked=request.count, faults=(_fault(fate, request.zone),))
        granted = self._launch(request)
        if fate == "unheard":
            return Granted(asked=request.count, faults=(_fault(fate, request.zone),))
        return granted

    async def terminate(self, ids: Collection[str]) -> Terminated:
        """End machines at once."""
        fate = self._fate("terminate")
        self._settle()
        if fate is not None and fate != "unheard":
            return Terminated(faults=(_fault(fate),))
        for id_ in ids:
            if (one := self._machines.get(id_)) is not None and one.state != "ended":
                self._end(one, "terminated", self._now())
        return Terminated(faults=(_fault(fate),)) if fate else Terminated(ids=tuple(ids))

    def offer(self, zone: SimZone) -> Sequence[Machine]:
        """Let a zone have more or less to sell; spot beyond it gets notice, the youngest first."""
        self._settle()
        self._zones[zone.name] = zone
        self._offers.append((self._now(), zone))
        held = self._held(zone.name, "spot")
        beyond = [] if zone.spot is None else held[zone.spot :]
        return [self.reclaim(one.id) for one in reversed(beyond)]

    async def history(
        self, instance_types: Collection[str], zones: Collection[str] = ()
    ) -> SpotHistory | Fault:
        """Return all prices that there ever were, as a market does."""
        fate = self._fate("history")
        if fate is not None:
            return _fault(fate)
        return SpotHistory(
            prices=tuple(
                SpotPrice(zone=zone.name, instance_type=type_, usd_per_hour=zone.spot_usd, at=at)
                for at, zone in self._offers
                for type_ in instance_types
                if not zones or zone.name in zones
            )
        )

    def bill_usd(self) -> float:
        """Return what all machines have cost by now, each second at the price of its time."""
        self._settle()
        return sum(map(self._cost_usd, self._machines.values()))

    def reclaim(self, id_: str) -> Machine:
        """Give one machine notice: it ends behind `notice_s`."""
        leaving = msgspec.structs.replace(
            self._machines[id_],
            state="stopping",
            end="reclaimed",
            ended_at=self._now() + self._notice_s,
        )
        self._machines[id_] = leaving
        return leaving

    def fail(self, id_: str) -> None:
        """Let one machine break now."""
        self._end(self._machines[id_], "failed", self._now())

    def _launch(self, request: Request) -> Granted:
        known = tuple(one for one in self._machines.values() if one.launch == request.id)
        if known:
            return Granted(asked=request.count, machines=known)
        zone = self._zones.get(request.zone)
        if zone is None or request.count < 1:
            return Granted(asked=request.count, faults=(_fault("refused", request.zone),))
        limit = zone.spot if request.capacity_type == "spot" else zone.on_demand
        left = request.count
        if limit is not None:
            left = max(0, limit - len(self._held(zone.name, request.capacity_type)))
        machines = tuple(self._start(request) for _ in range(min(left, request.count)))
        short = len(machines) < request.count
        faults = (_fault("no_capacity", request.zone),) if short else ()
        return Granted(asked=request.count, machines=machines, faults=faults)

    def _start(self, request: Request) -> Machine:
        id_ = f"{self._pool}-{len(self._machines) + 1}"
        machine = Machine(
            id=id_,
            node=id_,
            capacity_type=request.capacity_type,
            zone=request.zone,
            instance_type=(*request.instance_types, self._instance_type)[0],
            state="pending",
            started_at=self._now(),
            launch=request.id,
        )
        self._machines[id_] = machine
        return machine

    def _cost_usd(self, one: Machine) -> float:
        offers = [(at, zone) for at, zone in self._offers if zone.name == one.zone]
        ends = [at for at, _ in offers[1:]] + [self._now()]
        until = self._now() if one.ended_at is None else min(one.ended_at, self._now())
        return sum(
            max(0.0, min(end, until) - max(at, one.started_at))
            / 3600
            * (zone.spot_usd if one.capacity_type == "spot" else zone.on_demand_usd)
            for (at, zone), end in zip(offers, ends, strict=True)
        )

    def _held(self, zone: str, capacity_type: CapacityType) -> Sequence[Machine]:
        return [
            one
            for one in self._machines.values()
            if one.alive and (one.zone, one.capacity_type) == (zone, capacity_type)
        ]

    def _settle(self) -> None:
        """Let happen what was due by now."""
        now = self._now()
        for one in list(self._machines.values()):
            if one.state == "pending" and now - one.started_at >= self._start_s:
                self._machines[one.id] = msgspec.structs.replace(one, state="running")
            elif one.state == "stopping" and one.ended_at is not None and now >= one.ended_at:
                self._end(one, "reclaimed", one.ended_at)

    def _end(self, one: Machine, end: MachineEnd, at: float) -> None:
        self._machines[one.id] = msgspec.structs.replace(one, state="ended", end=end, ended_at=at)

    def _fate(self, call: str) -> Fate | None:
        self.calls.append(call)
        return self.fates.pop(0) if self.fates else None


def _fault(fate: Fate, zone: str | None = None) -> Fault:
    where = f"in zone {zone}" if zone else "in the simulated cloud"
    return Fault(
        kind="unreachable" if fate == "unheard" else fate,
        zone=zone,
        text=f"{where}: {fate}, as was asked for: ask again later",
        code=fate,
    )
