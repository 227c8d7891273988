"""A whole fleet on this machine: broker, topology and consumers, up until the context ends."""

import asyncio
import itertools
import logging
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Never

from fleet.broker import control
from fleet.broker.connection import Connection, connect
from fleet.broker.context import find_target
from fleet.broker.eventlog import EventLog
from fleet.broker.nodes import Nodes
from fleet.broker.permit import Mark, allow, forbid
from fleet.broker.provision import provision
from fleet.broker.server import Server, serve
from fleet.control import Heard, HurtOrder, Order
from fleet.errors import BrokerRefused, BrokerUnreachable, ProcessError, UsageError
from fleet.events import Emit, NodeGone
from fleet.hurt import hurt
from fleet.job import CapacityType
from fleet.pool.fleet_plan import Ended, FleetPlan, OnChange, OnReady, Replaced, Started
from fleet.pool.knobs import Knobs
from fleet.pool.local import LocalNode, LocalPool, Plan, ending
from fleet.pool.local_provider import Local
from fleet.pool.managed import Watched, baseline_ready, manage_local
from fleet.pool.replace import Life
from fleet.settings import Settings
from fleet.subjects import BROKER
from fleet.sweep import Swept, sweep_for_ever

# After that long a consumer that was told to drain is killed.
DRAIN_WAIT_S = 40.0
# One that still loads its engine holds no work.
LOADING_WAIT_S = 3.0
SWEEP_S = 2.0

log = logging.getLogger(__name__)


class Fleet:
    """A fleet that is up. nats: URL of its broker; monitor: HTTP address of it, if it is ours."""

    def __init__(
        self, plan: FleetPlan, *, nats: str, monitor: str | None, connection: Connection,
        pool: LocalPool, on_change: OnChange, on_ready: OnReady, emit: Emit,
    ) -> None:  # fmt: skip
        self.nats = nats
        self.monitor = monitor
        self.connection = connection
        self.pool = pool
        self.nodes = Nodes(connection)
        self._plan = plan
        self._on_change = on_change
        self._on_ready = on_ready
        self._emit = emit
        self._zones = itertools.cycle(plan.zones)
        # Where a manager's processes come from, and who may take them away.
        self.market = Local(Watched(pool, self._start_managed), plan.zones)
        self._group: asyncio.TaskGroup | None = None
        self._stopping = asyncio.Event()
        self._ready = False

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Start all consumers and wait until they are ready."""
        if self._plan.managed is not None:
            async with asyncio.timeout(self._plan.ready_s):
                await baseline_ready(
                    self.nodes, self._plan.model, self._plan.on_demand, self._on_ready
                )
            self._ready = True
            return
        wanted: list[CapacityType] = ["on-demand"] * self._plan.on_demand
        wanted += ["spot"] * self._plan.spot
        started = [await self.add(group, capacity_type) for capacity_type in wanted]
        async with asyncio.timeout(self._plan.ready_s):
            names = [node.node for node in started]
            await self.pool.ready(self.nodes, names, on_ready=self._on_ready)
        self._ready = True

    async def add(
        self,
        group: asyncio.TaskGroup,
        capacity_type: CapacityType,
        zone: str | None = None,
        life: Life | None = None,
    ) -> LocalNode:
        """Start one more consumer, in the next zone unless one is named, and watch over it.

        life: its place in a row of successors.
        """
        node = await self.pool.start(capacity_type, zone or next(self._zones))
        group.create_task(self._watch(group, node, life or Life()))
        return node

    async def manage(self, group: asyncio.TaskGroup, knobs: Knobs) -> Never:
        """Let a manager start and end consumers, which `group` watches over; until cancelled."""
        self._group = group
        await manage_local(
            self.connection,
            self.market,
            model=self._plan.model,
            zones=self._plan.zones,
            knobs=knobs,
            emit=self._emit,
            prices_usd_per_hour=self._plan.prices_usd_per_hour,
            says_gone=False,
        )

    async def _start_managed(self, capacity_type: CapacityType, zone: str) -> LocalNode:
        if self._group is None:
            raise UsageError(f"no manager runs here that could start {capacity_type} in {zone}")
        node = await self.add(self._group, capacity_type, zone)
        self._on_change(Started(node))
        return node

    async def stop(self) -> None:
        """Drain every consumer."""
        self._stopping.set()
        await self.pool.stop(wait_s=DRAIN_WAIT_S if self._ready else LOADING_WAIT_S)

    async def _watch(self, group: asyncio.TaskGroup, node: LocalNode, life: Life) -> None:
        """Wait for a consumer's end, say it, and start its successor."""
        began = time.monotonic()
        code = await self.pool.wait(node.node)
        self._emit(NodeGone(at=time.time(), node=node.node, cause=ending(code)))
        if self._stopping.is_set():
            return
        lived_s = time.monotonic() - began
        # Who does not come up at the start ends the start: whoever waits for it is told why.
        following = life.succeeded(self._plan.replace, code, lived_s) if self._ready else None
        in_s = following[1] if following else None
        self._on_change(Ended(node, code, in_s, self.pool.last_words(node.node)))
        if following is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(in_s):
                await self._stopping.wait()
        if not self._stopping.is_set():
            other = await self.add(group, node.capacity_type, node.zone, following[0])
            self._on_change(Replaced(node, other))


@asynccontextmanager
async def fleet_up(
    plan: FleetPlan,
    *,
    on_change: OnChange = lambda _: None,
    on_ready: OnReady = lambda _done, _all: None,
) -> AsyncIterator[Fleet]:
    """Bring a fleet up, and drain it when the body ends.

    on_change: told who ended and who came instead. on_ready: told how many of how many consumers
    are ready while the fleet comes up.
    """
    settings = Settings.from_env(os.environ, nats=plan.nats)
    async with AsyncExitStack() as stack:
        folder = plan.store or Path(stack.enter_context(tempfile.TemporaryDirectory("-overbook")))
        # Nodes of an earlier life may be known to a broker that is not new.
        is_new = plan.nats is None and plan.store is None
        server = monitor = None
        if plan.nats is None:
            server = await stack.enter_async_context(serve(folder / "nats", port=plan.port))
            url, monitor = server.url, server.monitor
            target = find_target(url, {})
        else:
            url, target = plan.nats, find_target(plan.nats, os.environ)
        connection = await stack.enter_async_context(connect(target, name="fleet-up"))
        events = await stack.enter_async_context(EventLog(connection))
        await provision(connection, [plan.model], ack_wait_s=settings.ack_wait_s)
        pool = LocalPool(
            Plan(
                nats=url,
                model=plan.model,
                engine=plan.engine,
                logs=folder / "logs",
                tag="" if is_new else f"{secrets.token_hex(2)}-",
                arguments=plan.arguments,
                prices_usd_per_hour=plan.prices_usd_per_hour,
            )
        )
        fleet = Fleet(
            plan,
            # To be shown, so without a login that may stand in the address.
            nats=target.address,
            monitor=monitor,
            connection=connection,
            pool=pool,
            on_change=on_change,
            on_ready=on_ready,
            emit=events.emit,
        )
        async with asyncio.TaskGroup() as group:
            sweeping = group.create_task(
                sweep_for_ever(
                    connection,
                    every_s=SWEEP_S,
                    emit=events.emit,
                    swept=_tell,
                    realtime_deadline_s=settings.realtime_deadline_s,
                    checkpoint_s=settings.checkpoint_s,
                )
            )
            drilling = group.create_task(_may_be_drilled(connection, plan, server))
            managing = (
                group.create_task(fleet.manage(group, plan.managed)) if plan.managed else None
            )
            try:
                await _start(fleet, group, plan)
                yield fleet
            finally:
                if managing is not None:
                    # It would replace whoever is drained.
                    managing.cancel()
                    await asyncio.wait([managing])
                await fleet.stop()
                sweeping.cancel()
                drilling.cancel()


async def _may_be_drilled(connection: Connection, plan: FleetPlan, server: Server | None) -> None:
    """Keep the fleet marked, if that is wanted, and let drills kill a broker of our own."""
    if not plan.allow_drills:
        return

    def obey(order: Order) -> Heard:
        if server is None or not isinstance(order, HurtOrder):
            raise UsageError("a broker takes no such order: `fleet drill server` kills it")
        return Heard(node=BROKER, pid=server.pid, state="ready", changed=True)

    async def strike(order: HurtOrder) -> None:
        if server is not None:
            await hurt(server.pid, order)

    await allow(connection, Mark(by="fleet up", token=secrets.token_hex(8)), for_s=None)
    try:
        if server is None:
            await asyncio.Event().wait()
        await control.serve(connection, BROKER, obey, strike)
    finally:
        with suppress(BrokerUnreachable, BrokerRefused):
            await forbid(connection)


def _tell(swept: Sequence[Swept]) -> None:
    for one in swept:
        log.warning("a job was swept: %s: %s", one.code, one.message, extra={"job_id": one.job})


async def _start(fleet: Fleet, group: asyncio.TaskGroup, plan: FleetPlan) -> None:
    try:
        await fleet.start(group)
    except TimeoutError as error:
        names: Sequence[str] = [node.node for node in fleet.pool.running()]
        raise ProcessError(
            f"not every one of {', '.join(names)} was ready within {plan.ready_s:.0f} s: look into "
            "the logs folder, or start fewer consumers"
        ) from error
