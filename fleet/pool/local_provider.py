"""Processes of this machine as machines of a pool: zones are names, and a signal is a reclaim."""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

import msgspec

from fleet.job import CapacityType
from fleet.pool.local import LocalNode
from fleet.pool.provider import Fault, FaultKind, Granted, Machine, MachineEnd, Request, Terminated

INSTANCE_TYPE: Final = "process"
# How long one that ended is still listed, as clouds do.
LISTED_S: Final = 3600.0
# As AWS gives.
NOTICE_S: Final = 120.0


class Processes(Protocol):
    """What the provider needs of a pool of processes."""

    async def start(self, capacity_type: CapacityType, zone: str) -> LocalNode:
        """Start one consumer."""
        ...

    async def wait(self, name: str) -> int:
        """Wait for one's end, and return its exit code, negative for a signal."""
        ...

    def notice(self, name: str) -> None:
        """Tell one that it is about to vanish."""
        ...

    def kill(self, name: str) -> None:
        """Let one vanish."""
        ...

    def running(self) -> Sequence[LocalNode]:
        """List those that are alive."""
        ...


class Local:
    """A provider of processes. Nothing outlives this process, so nothing can leak.

    zones: the names of the zones that there are. per_zone: spot processes that one has to sell.
    notice_s: how long one that was told to go may take, then it is killed, as clouds do. clock:
    seconds that never go back.
    """

    def __init__(
        self,
        processes: Processes,
        zones: Collection[str],
        *,
        per_zone: int = 8,
        notice_s: float = NOTICE_S,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._processes = processes
        self._open = dict.fromkeys(zones, True)
        self._per_zone = per_zone
        self._notice_s = notice_s
        self._now = now
        self._clock = clock
        self._machines: dict[str, Machine] = {}
        self._told: dict[str, float] = {}
        self._launching = asyncio.Lock()

    async def list(self) -> tuple[Machine, ...] | Fault:
        """List the processes, and how those ended that did in the last hour."""
        running = {one.node for one in self._processes.running()}
        now = self._now()
        for id_, one in list(self._machines.items()):
            if one.state != "ended" and id_ not in running:
                code = await self._processes.wait(id_)
                self._machines[id_] = msgspec.structs.replace(
                    one, state="ended", end=one.end or _end(code), ended_at=now
                )
                self._told.pop(id_, None)
            elif one.ended_at is not None and now - one.ended_at > LISTED_S:
                self._machines.pop(id_, None)
            elif id_ in self._told and self._clock() - self._told[id_] >= self._notice_s:
                self._processes.kill(id_)
        return tuple(self._machines.values())

    async def launch(self, request: Request) -> Granted:
        """Start processes, as many as the zone has left."""
        if request.zone not in self._open or request.count < 1:
            zones = ", ".join(self._open)
            return _denied(
                request, "refused", f"ask for one or more machines in one of the zones {zones}"
            )
        # Two of one id at the same time would both find that nothing was launched yet.
        async with self._launching:
            await self.list()
            known = tuple(one for one in self._machines.values() if one.launch == request.id)
            if known:
                return Granted(asked=request.count, machines=known)
            left = self._left(request)
            machines: list[Machine] = []
            try:
                while len(machines) < min(left, request.count):
                    machines.append(await self._start(request))
            except OSError as error:
                why = f"this machine starts no further process: {error}: give it room, or ask less"
                return _denied(request, "refused", why, machines)
        if len(machines) == request.count:
            return Granted(asked=request.count, machines=tuple(machines))
        return _denied(
            request, "no_capacity", f"the zone has no more than {left}: try another", machines
        )

    async def terminate(self, ids: Collection[str]) -> Terminated:
        """Let processes hand over what they hold, and end."""
        for id_ in ids:
            if id_ in self._machines and self._machines[id_].alive:
                self._leave(id_, "terminated")
        return Terminated(ids=tuple(ids))

    async def take_away(self, zone: str) -> Sequence[Machine]:
        """Play a market that wants a zone's spot machines back: notice to all, and none to sell."""
        await self.list()
        self.close(zone)
        return [
            self._leave(one.id, "reclaimed")
            for one in list(self._machines.values())
            if one.alive and one.zone == zone and one.capacity_type == "spot"
        ]

    def close(self, zone: str) -> None:
        """Let a zone have no spot machines to sell; those it has stay."""
        self._open[zone] = False

    def give_back(self, zone: str) -> None:
        """Let a zone have spot machines again."""
        self._open[zone] = True

    def _left(self, request: Request) -> int:
        if request.capacity_type == "on-demand":
            return request.count
        held = sum(
            one.alive and (one.zone, one.capacity_type) == (request.zone, "spot")
            for one in self._machines.values()
        )
        return max(0, self._per_zone - held) if self._open[request.zone] else 0

    async def _start(self, request: Request) -> Machine:
        started = await self._processes.start(request.capacity_type, request.zone)
        machine = Machine(
            id=started.node,
            node=started.node,
            capacity_type=started.capacity_type,
            zone=started.zone,
            instance_type=INSTANCE_TYPE,
            state="running",
            started_at=started.started_at,
            launch=request.id,
        )
        self._machines[machine.id] = machine
        return machine

    def _leave(self, id_: str, end: MachineEnd) -> Machine:
        leaving = msgspec.structs.replace(self._machines[id_], state="stopping", end=end)
        self._machines[id_] = leaving
        self._told[id_] = self._clock()
        self._processes.notice(id_)
        return leaving


def _end(code: int) -> MachineEnd:
    """Say how one ended that nobody here told to: a signal or a drain is the market's doing."""
    return "failed" if code > 0 else "reclaimed"


def _denied(
    request: Request, kind: FaultKind, why: str, machines: Sequence[Machine] = ()
) -> Granted:
    text = f"launch of {request.count} {request.capacity_type} in {request.zone}: {why}"
    fault = Fault(kind=kind, zone=request.zone, text=text)
    return Granted(asked=request.count, machines=tuple(machines), faults=(fault,))
