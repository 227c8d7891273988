"""A living fleet as a source of snapshots."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeAlias

import msgspec

from dashboard.live.batches import BatchLook, PoolLook
from dashboard.live.budget import SLOWEST_S, Budget
from dashboard.live.events import EventLook, Heard
from dashboard.live.jobs import JobLook
from dashboard.live.money import MoneyLook
from dashboard.live.nodes import NodeLook
from dashboard.live.queues import QueueLook
from dashboard.live.story import Why, story
from dashboard.moment import moment
from dashboard.pace import Past
from dashboard.snapshot import PARTS, FleetSnapshot, Part, Story
from fleet.broker.beside import Beside
from fleet.broker.clock import ServerClock
from fleet.broker.connection import Connection, connect
from fleet.broker.context import Target
from fleet.errors import BrokerUnreachable, ConnectionLost, FleetError
from fleet.prices import DAY_S, PriceBook
from fleet.subjects import NODES
from fleet.topology import bucket_stream

# How often most parts are read, where their size lets it.
PACE_S: Final = 2.0
# What the first snapshot waits for at most; what comes later is in the next one.
FIRST_S: Final = 2.0
_FIRST: Final[frozenset[Part]] = frozenset({"nodes", "queues", "batches", "pools", "events"})
HOUR_S: Final = 3600.0
Look: TypeAlias = Callable[[Connection, float], Awaitable[None]]


class LiveSource:
    """Watches a fleet. Implements `dashboard.source.Source`.

    book: what machines cost that do not say it themselves. why: says why a job waits. pace_s: how
    often queues and jobs are read at most. wait_s: for the first connection. budgets: what each
    part brought over the line.
    """

    def __init__(
        self,
        target: Target,
        *,
        book: PriceBook,
        why: Why,
        interval_s: float = 1.0,
        pace_s: float = PACE_S,
        wait_s: float = 10.0,
    ) -> None:
        self.name = target.address
        self.interval_s = interval_s
        self.budgets: dict[Part, Budget] = {}
        self._target = target
        self._why = why
        self._pace_s = pace_s
        self._wait_s = wait_s
        self._connection: Connection | None = None
        self._now: Callable[[], float] = time.time
        self._read_at: dict[Part, float] = {}
        self._troubles: dict[Part, str] = {}
        self._looked: dict[Part, asyncio.Event] = {part: asyncio.Event() for part in PARTS}
        self._woken = asyncio.Event()
        self._past = Past()
        self._heard = Heard()
        self._nodes = NodeLook(self._heard, self._budget("nodes"))
        self._queues = QueueLook(self._heard, self._budget("queues"))
        self._jobs = JobLook(self._heard, self._queues, self._budget("jobs"))
        self._pools = PoolLook(self._budget("pools"))
        self._batches = BatchLook(self._heard, self._pools, self._budget("batches"))
        self._events = EventLook(self._heard, self._budget("events"))
        self._money = MoneyLook(self._heard, self._nodes, book)

    async def snapshots(self) -> AsyncGenerator[FleetSnapshot]:
        """Yield snapshots until closed; begin and close it in one task.

        Raises BrokerUnreachable and BrokerRefused where it cannot begin.
        """
        async with connect(self._target, name="fleet-top", wait_s=self._wait_s) as connection:
            clock = ServerClock(connection, bucket_stream(NODES))
            await clock.look()
            self._now, self._connection = clock.told, connection
            forget = connection.on_reconnect(self._restart)
            try:
                async with Beside(self._watch(connection, clock)):
                    await self._first()
                    while True:
                        yield self._snapshot(connection)
                        await asyncio.sleep(self.interval_s)
            finally:
                forget()
                self._connection = None

    async def story(self, tenant: str, job: str, batch: str | None) -> Story:
        """Tell a job's life. Raises NotFound, JobRejected, BrokerRefused, BrokerUnreachable."""
        if self._connection is None:
            raise BrokerUnreachable(f"{self.name} is not connected: begin to watch it first")
        events = tuple(self._heard.shown)
        return await story(
            self._connection, tenant=tenant, job=job, batch=batch, events=events, why=self._why
        )

    def _budget(self, part: Part) -> Budget:
        return self.budgets.setdefault(part, Budget())

    def _restart(self) -> None:
        """Begin anew after a reconnect: what was written meanwhile was not heard."""
        for watch in (self._nodes, self._batches, self._pools, self._events):
            watch.restart()
        woken, self._woken = self._woken, asyncio.Event()
        woken.set()

    async def _watch(self, connection: Connection, clock: ServerClock) -> None:
        looks: tuple[tuple[Part, Look, float], ...] = (
            ("nodes", self._nodes.look, 0.0),
            ("queues", self._queues.look, self._pace_s),
            ("batches", self._batches.look, self._pace_s),
            ("pools", self._pools.look, self._pace_s),
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(clock.follow())
            for part, look, every_s in looks:
                group.create_task(self._repeat(connection, part, look, every_s))
            group.create_task(self._watch_jobs(connection))
            group.create_task(self._watch_events(connection))

    async def _watch_jobs(self, connection: Connection) -> None:
        """Read them behind the queues, which say what of them is out."""
        await self._looked["queues"].wait()
        await self._repeat(connection, "jobs", self._jobs.look, self._pace_s)

    async def _watch_events(self, connection: Connection) -> None:
        """Show the newest first, then add up what counts for today and for open batches."""
        await self._once(connection, "events", lambda connection, _: self._events.begin(connection))
        await self._looked["batches"].wait()
        await self._once(connection, "events", self._find_events)
        # No ledger before all of them are there: it would tell too small a bill.
        await self._once(connection, "events", self._events.look)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(connection, "events", self._events.look, 0.0))
            group.create_task(self._keep_books(connection))

    async def _keep_books(self, connection: Connection) -> None:
        while True:
            await self._try(connection, "costs", self._money.look)
            await asyncio.sleep(self._money.pause_s)

    async def _find_events(self, connection: Connection, now: float) -> None:
        oldest = self._batches.oldest_open
        since = min(now - now % DAY_S, now - HOUR_S, now if oldest is None else oldest)
        await self._events.find(connection, since)

    async def _repeat(self, connection: Connection, part: Part, look: Look, every_s: float) -> None:
        budget, failures = self._budget(part), 0
        while True:
            failures = 0 if await self._try(connection, part, look) else failures + 1
            # What we may not read, or nobody serves, is not asked for each second.
            pause_s = budget.pause_s(max(every_s, self.interval_s) * 2**failures)
            await self._pause(min(SLOWEST_S, pause_s))

    async def _once(self, connection: Connection, part: Part, look: Look) -> None:
        """Try until it succeeds."""
        while not await self._try(connection, part, look):
            await self._pause(self._pace_s)

    async def _try(self, connection: Connection, part: Part, look: Look) -> bool:
        """Look once; what cannot be read is a trouble that is shown, and no end of the others."""
        try:
            await look(connection, self._now())
        except ConnectionLost:
            raise
        except FleetError as error:
            self._troubles[part] = str(error)
            return False
        else:
            self._read_at[part] = self._now()
            self._troubles.pop(part, None)
            return True
        finally:
            self._looked[part].set()

    async def _pause(self, seconds: float) -> None:
        """Wait, at most until the broker is back."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    async def _first(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_S):
                for part in _FIRST:
                    await self._looked[part].wait()

    def _snapshot(self, connection: Connection) -> FleetSnapshot:
        costs = self._money.fact
        made = FleetSnapshot(
            at=self._now(),
            source=self.name,
            connected=connection.connected,
            read_at=dict(self._read_at),
            troubles=dict(self._troubles),
            nodes=self._nodes.facts(self._now()),
            queues=self._queues.facts,
            jobs=self._jobs.facts(self._nodes.alive),
            jobs_in_all=self._queues.jobs if "queues" in self._read_at else None,
            dead_in_all=self._queues.dead,
            oldest_at=self._queues.oldest_at,
            batches=self._batches.facts(),
            pools=self._pools.facts(),
            costs=costs,
            events=tuple(self._heard.shown),
        )
        self._past.add(moment(made))
        if costs is not None:
            self._past.recall(costs.spend)
        return msgspec.structs.replace(made, history=self._past.told())
