"""A pool of machines that are entries in a table, its nodes, and a manager, all by one clock."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from fleet.errors import BrokerUnreachable, CorruptRecord, NotFound
from fleet.events import AnyEvent, PoolActed, PoolDecided
from fleet.node import Node
from fleet.pool.decision import Decision
from fleet.pool.guard import Guard
from fleet.pool.knobs import Knobs
from fleet.pool.machines import Machines
from fleet.pool.manager import Manager
from fleet.pool.provider import Fault, Granted, Machine, Request
from fleet.pool.reaper import Reaper
from fleet.pool.simcloud import Fate, SimCloud, SimZone
from fleet.pool.snapshot import Happening, Load, Price, Snapshot, Work, count
from fleet.pool.switches import Paused, Standing
from fleet.pool.world import Seen

HOUR = 3600.0
EPOCH = 1_000_000.0
ZONES = ("a", "b", "c")
PRICES = {name: Price(spot_usd=1.8, on_demand_usd=4.5) for name in ZONES}
START_S = 120.0


class Clock:
    def __init__(self) -> None:
        self.at = EPOCH

    def __call__(self) -> float:
        return self.at


class Lease:
    """A lease that the test holds. leads_for: how many questions it is answered with yes."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.leads_for: int | None = None

    @property
    def leads(self) -> bool:
        if self.leads_for is None:
            return True
        self.leads_for -= 1
        return self.leads_for >= 0


class Keys:
    """The keys of the bucket `policy`. down: whether the broker answers. corrupt: foreign keys."""

    def __init__(self) -> None:
        self.down = False
        self.corrupt: set[str] = set()
        self.is_paused = False
        self.set_knobs: Knobs | None = None
        self.switch = False
        self.turned: list[bool] = []
        self.told: Standing | None = None

    async def knobs(self) -> Knobs | None:
        self._answer("knobs")
        return self.set_knobs

    async def paused(self) -> Paused | None:
        self._answer("paused")
        return Paused(by="op", why="", at=0.0) if self.is_paused else None

    async def fallback(self) -> bool:
        self._answer("fallback")
        return self.switch

    async def turn_fallback(self, *, on: bool) -> None:
        self._answer()
        self.switch = on
        self.turned.append(on)

    async def tell(self, standing: Standing) -> None:
        self._answer()
        # As it is stored.
        self.told = msgspec.json.decode(msgspec.json.encode(standing), type=Standing)

    async def standing(self) -> Standing | None:
        self._answer()
        return self.told

    def _answer(self, key: str = "") -> None:
        if self.down:
            raise BrokerUnreachable("nobody answers")
        if key in self.corrupt:
            raise CorruptRecord(f"{key} is foreign", revision=1, written_at=0.0)


class Cloud(SimCloud):
    """A simulated cloud with fates for launches alone. dies: whoever launches is killed by it.

    takes: called with each launch, which may take its time.
    """

    launch_fates: tuple[Fate, ...] = ()
    dies = False
    takes: Callable[[], None] = staticmethod(lambda: None)

    async def launch(self, request: Request) -> Granted:
        self.fates, self.launch_fates = [*self.launch_fates[:1]], self.launch_fates[1:]
        granted = await super().launch(request)
        self.takes()
        if self.dies:
            raise asyncio.CancelledError
        return granted


class World:
    """What managers look at: a cloud, a node on each machine that runs, and work."""

    def __init__(self, *, spot: int | None = None, on_demand: int | None = None) -> None:
        self.clock = Clock()
        zones = [SimZone(name=name, spot=spot, on_demand=on_demand) for name in ZONES]
        self.cloud = Cloud(zones, now=self.clock, start_s=START_S)
        self.work: tuple[Work, ...] | None = ()
        self.load: Load | None = Load(busy=0.0)
        self.prices = dict(PRICES)
        self.mute: set[str] = set()
        self.hearts_heard = True
        self.draining: set[str] = set()
        self.busy: set[str] = set()
        self.noticed: set[str] = set()
        self.keys = Keys()
        self.events: list[AnyEvent] = []

    def nodes(self, machines: Sequence[Machine]) -> list[Node]:
        return [self._node(one) for one in machines
                if one.state in {"running", "stopping"} and one.id not in self.mute]  # fmt: skip

    async def machines(self, state: str | None = None) -> list[Machine]:
        """List those that are paid for, past all faults that are in store."""
        return [one for one in await self._listed() if one.alive and state in {None, one.state}]

    async def beating(self) -> list[Node]:
        """List the nodes of machines that are up, those under notice included."""
        return self.nodes(await self._listed())

    async def counts(self) -> tuple[int, int]:
        """Count spot and on-demand machines."""
        kinds = [one.capacity_type for one in await self.machines()]
        return kinds.count("spot"), kinds.count("on-demand")

    async def tell_drain(self, node: str) -> None:
        if node in self.mute:
            raise NotFound(f"no node {node}")
        self.draining.add(node)

    def acted(self, action: str) -> list[PoolActed]:
        return [e for e in self.events if isinstance(e, PoolActed) and e.action == action]

    def decided(self) -> list[PoolDecided]:
        return [e for e in self.events if isinstance(e, PoolDecided)]

    async def _listed(self) -> tuple[Machine, ...]:
        fates, self.cloud.fates = self.cloud.fates, []
        listed = await self.cloud.list()
        self.cloud.fates = fates
        assert not isinstance(listed, Fault)
        return listed

    def _node(self, one: Machine) -> Node:
        state: Any = "ready"
        if one.id in self.draining:
            state = "draining" if one.id in self.busy else "drained"
        if one.id in self.noticed:
            state = "draining"
        items = 4 if one.id in self.busy else 0
        return Node(
            node=f"{one.id}-x1", pid=1, host=one.id, capacity_type=one.capacity_type,
            zone=one.zone, model="m", engine="e", state=state, started_at=one.started_at,
            at=self.clock(), items=items, jobs=min(items, 1), slots=8,
            notice="command" if one.id in self.draining else "aws" * (one.id in self.noticed),
        )  # fmt: skip


class Eyes:
    """Looks at a World through the machines' part of the product."""

    def __init__(self, world: World, hands: Machines) -> None:
        self._world = world
        self._hands = hands
        self._happened: list[Happening] = []

    async def read_events(self) -> None:
        return

    def heard(self, happened: list[Happening]) -> None:
        self._happened += happened

    def settled(self) -> None:
        self._happened.clear()

    async def look(self, *, paused: bool, falls_back: bool, realtime: int) -> Seen:
        world = self._world
        nodes = await world.beating() if world.hearts_heard else None
        sight = await self._hands.look(nodes)
        known = None if isinstance(sight, Fault) else sight
        self._happened += known.happened if known else ()
        snapshot = Snapshot(
            now=world.clock(),
            work=world.work,
            zones=count(known.members, world.prices) if known else None,
            load=world.load,
            startup_s=START_S,
            happened=tuple(self._happened),
            order="arrival",
            paused=paused,
        )
        troubles = (sight.text,) if isinstance(sight, Fault) else ()
        return Seen(snapshot=snapshot, sight=known, troubles=troubles)


class Run:
    """One manager at a World. lease: what it leads by."""

    def __init__(self, world: World, knobs: Knobs | None = None, *, reaps: bool = True) -> None:
        self.world = world
        self.lease = Lease()

        async def tell_drain(name: str) -> None:
            await world.tell_drain(name.removesuffix("-x1"))

        self.hands = Machines(
            Guard(world.cloud, clock=world.clock),
            model="m",
            me="manager",
            tell_drain=tell_drain,
            emit=world.events.append,
            reaper=Reaper() if reaps else None,
            now=world.clock,
            clock=world.clock,
        )
        self.manager = Manager(
            model="m",
            me="manager",
            provider="sim",
            eyes=Eyes(world, self.hands),
            hands=self.hands,
            leading=self.lease,
            board=world.keys,
            emit=world.events.append,
            knobs=knobs or Knobs(most_spot=6, most_on_demand=20),
            now=world.clock,
        )

    async def tick(self, *, after_s: float = 10.0) -> Decision:
        decision = await self.manager.tick()
        assert decision is not None
        self.world.clock.at += after_s
        return decision

    async def ticks(self, for_s: float) -> Decision:
        decision = await self.tick()
        until = self.world.clock.at + for_s - 10.0
        while self.world.clock.at < until:
            decision = await self.tick()
        return decision


def batch(
    name: str = "acme.b", *, node_h: float, due_in_h: float | None, now: float = EPOCH
) -> Work:
    """A batch of items of a minute each."""
    return Work(
        name=name,
        items=round(node_h * 60),
        item_s=60.0,
        deadline=None if due_in_h is None else now + due_in_h * HOUR,
        submitted_at=now,
    )
