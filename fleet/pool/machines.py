"""The machines of a pool, seen with their nodes' heartbeats, and moved by decisions.

Nothing is written down before a launch or after it: machines are found again by the provider's
list, and those that nobody ever hears of by the reaper. So a manager may die anywhere in here.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, Literal, TypeAlias, TypeVar

import msgspec

from fleet.errors import BrokerRefused, BrokerUnreachable, JobRejected, NotFound
from fleet.events import Emit, NodeGone, PoolActed, PoolAction
from fleet.node import Node
from fleet.pool.decision import Decision, Launch, Release
from fleet.pool.hands import Sight, Sure
from fleet.pool.leader import steady
from fleet.pool.matching import (
    drained,
    launched,
    match,
    members,
    reclaimed,
    told,
    under_notice,
    victims,
)
from fleet.pool.provider import Fault, Granted, Machine, Provider, Request, Terminated
from fleet.pool.reaper import Reaper
from fleet.pool.snapshot import BecameReady, Crashed, Happening

# A provider that is silent for longer is given up on, and asked again with the next look.
CALL_S: Final = 120.0
# Behind so long no further step is begun: what a slow cloud has by then is looked at first.
ACT_S: Final = 60.0
# A node that drains for longer hangs: its work is somebody else's by then.
DRAIN_MOST_S: Final = 900.0

# Tells a node to drain. Raises as `fleet.broker.control.ask` does.
TellDrain: TypeAlias = Callable[[str], Awaitable[object]]
T = TypeVar("T")


class Machines:
    """Sees and moves the machines of one provider.

    me: the manager's name in events. says_gone: whether to tell the ledger of ends; False where
    somebody else watches the machines. reaper: None for machines that cannot leak.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        model: str,
        me: str,
        tell_drain: TellDrain,
        emit: Emit,
        reaper: Reaper | None,
        says_gone: bool = True,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = steady,
    ) -> None:
        self._provider = provider
        self._model = model
        self._me = me
        self._tell_drain = tell_drain
        self._emit = emit
        self._reaper = reaper
        self._says_gone = says_gone
        self._now = now
        self._clock = clock
        self._before: Sight | None = None
        # Whom we told to drain: since when.
        self._going: dict[str, float] = {}

    async def look(self, nodes: Sequence[Node] | None) -> Sight | Fault:
        """List the machines. nodes: None where heartbeats could not be read; then nothing is known.

        A machine whose heartbeat is not known would look as if it started, and be taken for one
        that holds nothing.
        """
        listed = await _bounded(self._provider.list(), _as_it_is)
        if isinstance(listed, Fault):
            return listed
        if nodes is None:
            return Fault(kind="unreachable", text="heartbeats could not be read")
        going, there = set(self._going), {one.id for one in listed if one.state != "ended"}
        self._going = {id_: at for id_, at in self._going.items() if id_ in there}
        seen = tuple(
            msgspec.structs.replace(one, phase="leaving") if one.name in self._going else one
            for one in members(listed, nodes)
        )
        sight = Sight(machines=listed, nodes=tuple(nodes), members=seen)
        self._tell_launched(listed)
        happened = tuple(self._changes(sight, going))
        self._before = sight
        return msgspec.structs.replace(sight, happened=happened)

    async def carry_out(
        self, decision: Decision, sight: Sight, *, most: int, sure: Sure
    ) -> list[Happening]:
        """Do what was decided; return what came of the launches.

        most: launches at most, whatever was decided.
        """
        sure = self._in_time(sure)
        await self._end_drained(sight, sure)
        happened: list[Happening] = []
        for launch in decision.launches:
            count = min(launch.count, most)
            if count < 1 or not sure():
                continue
            most -= count
            happened += await self._launch(launch, count)
        for release in decision.releases:
            await self._release(release, sight, sure)
        happened += await self._reap(sight, sure)
        return happened

    def _in_time(self, sure: Sure) -> Sure:
        began = self._clock()
        return lambda: self._clock() - began < ACT_S and sure()

    def forget(self) -> None:
        """Forget what was seen, but not who was told to go."""
        self._before = None

    def _changes(self, sight: Sight, going: Collection[str]) -> list[Happening]:
        """Hold two looks against each other. going: whom we told to go, which is no market's doing.

        A consumer that has handed over ends by itself, and a machine perhaps with it.
        """
        before, at = self._before, self._now()
        if before is None:
            return []
        phases = {one.name: one.phase for one in before.members}
        found: list[Happening] = [
            BecameReady(zone=one.zone, at=at, capacity_type=one.capacity_type)
            for one in sight.members
            if one.phase == "ready" and phases.get(one.name) == "starting"
        ]
        known = {*going, *under_notice(before.machines, before.nodes)}
        others = [one for one in before.machines if one.id not in known]
        found += reclaimed(others, sight.machines, at)
        now = {one.id: one for one in sight.machines}
        for one in before.machines:
            after = now.get(one.id)
            if one.state == "ended" or (after is not None and after.state != "ended"):
                continue
            if after is not None and after.end == "failed" and phases.get(one.id) == "starting":
                found.append(Crashed(zone=one.zone, at=at, capacity_type=one.capacity_type))
            if self._says_gone:
                cause = "drained" if one.id in going else (after.end if after else None)
                self._tell_gone(one, after, before, cause or "no longer listed")
        return found

    def _tell_launched(self, machines: Sequence[Machine]) -> None:
        """Tell the ledger of machines when they are first seen, whoever launched them.

        Not at the launch: a manager that dies right behind it would have told nobody.
        """
        known = {one.id for one in self._before.machines} if self._before else set()
        for one in machines:
            if one.alive and one.id not in known:
                self._emit(launched(one, model=self._model, at=self._now()))

    def _tell_gone(
        self, machine: Machine, after: Machine | None, before: Sight, cause: str
    ) -> None:
        node, at = match([machine], before.nodes).get(machine.id), self._now()
        name = node.node if node else machine.node
        ended_at = (after.ended_at if after else None) or at
        self._emit(NodeGone(at=min(at, ended_at), node=name, cause=cause))

    async def _launch(self, launch: Launch, count: int) -> list[Happening]:
        request = Request(
            id=f"{self._model[:40]}-{secrets.token_hex(8)}",
            capacity_type=launch.capacity_type,
            zone=launch.zone,
            count=count,
        )
        granted = await _bounded(
            self._provider.launch(request), lambda why: Granted(asked=count, faults=(why,))
        )
        if granted.machines:
            ids = tuple(one.id for one in granted.machines)
            self._say("launched", launch, ids, f"{len(ids)} of {count}: {launch.why}")
        if granted.shortfall is not None:
            self._say("refused", launch, (), granted.shortfall.text)
        return list(
            told(granted, self._now(), zone=launch.zone, capacity_type=launch.capacity_type)
        )

    async def _release(self, release: Release, sight: Sight, sure: Sure) -> None:
        """End those that start, and drain the others: they end once they hold nothing."""
        staying = [one for one in sight.machines if one.id not in self._going]
        chosen = victims(
            staying, sight.nodes, capacity_type=release.capacity_type, zone=release.zone,
            count=release.count,
        )  # fmt: skip
        if chosen.end and sure():
            await self._end(chosen.end, "ended", release, release.why)
        ids = {node.node: id_ for id_, node in match(staying, sight.nodes).items()}
        for name in chosen.drain:
            if sure() and await self._drain(name, release):
                self._going[ids[name]] = self._clock()

    async def _drain(self, name: str, release: Release) -> bool:
        try:
            await self._tell_drain(name)
        except (NotFound, BrokerRefused, BrokerUnreachable, JobRejected) as error:
            # It may have gone in this moment: the next look tells.
            self._say("unheard", release, (name,), str(error))
            return False
        self._say("drained", release, (name,), release.why)
        return True

    async def _end_drained(self, sight: Sight, sure: Sure) -> None:
        """End the machines of nodes that were told to go, and have gone or hold nothing."""
        heard = match(sight.machines, sight.nodes)
        gone = {id_ for id_ in self._going if id_ not in heard}
        late = {id_ for id_, at in self._going.items() if self._clock() - at > DRAIN_MOST_S}
        # Those that a manager before us drained are known by their own word.
        empty = {
            id_
            for id_ in drained(sight.machines, sight.nodes)
            if id_ in self._going or heard[id_].notice == "command"
        }
        alive = {one.id for one in sight.machines if one.alive}
        if (ids := sorted(alive & (gone | late | empty))) and sure():
            await self._end(ids, "ended", None, "its node handed over what it held")

    async def _reap(self, sight: Sight, sure: Sure) -> list[Happening]:
        """End machines that nobody hears of."""
        if self._reaper is None or not sure():
            return []
        heard = set(match(sight.machines, sight.nodes))
        leaks = self._reaper.look(sight.machines, heard, self._clock())
        by_id = {one.id: one for one in sight.machines}
        phases = {one.name: one.phase for one in sight.members}
        found: list[Happening] = []
        for leak in leaks:
            one = by_id[leak.id]
            await self._end([leak.id], "reaped", one, leak.text)
            if phases.get(leak.id) == "starting":
                at = self._now()
                found.append(Crashed(zone=one.zone, at=at, capacity_type=one.capacity_type))
        return found

    async def _end(
        self,
        ids: Collection[str],
        action: Literal["ended", "reaped"],
        about: Release | Machine | None,
        why: str,
    ) -> None:
        done = await _bounded(
            self._provider.terminate(ids), lambda fault: Terminated(faults=(fault,))
        )
        if done.ids:
            self._say(action, about, done.ids, why)
        for fault in done.faults:
            self._say("refused", about, tuple(ids), fault.text)

    def _say(
        self,
        action: PoolAction,
        about: Launch | Release | Machine | None,
        machines: tuple[str, ...],
        why: str,
    ) -> None:
        self._emit(
            PoolActed(
                at=self._now(), node=self._me, model=self._model, action=action,
                capacity_type=about.capacity_type if about else None,
                zone=about.zone if about else "", machines=machines, why=why,
            )
        )  # fmt: skip


async def _bounded(call: Awaitable[T], failed: Callable[[Fault], T]) -> T:
    """Wait for a provider's answer, and make a fault of its silence."""
    try:
        async with asyncio.timeout(CALL_S):
            return await call
    except TimeoutError:
        text = f"the provider did not answer within {CALL_S:.0f} s: is its API up?"
        return failed(Fault(kind="unreachable", text=text))


def _as_it_is(fault: Fault) -> tuple[Machine, ...] | Fault:
    return fault
