"""A whole fleet on this machine: broker, topology and consumers, up until the context ends."""

import asyncio
import itertools
import logging
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from fleet.broker.connection import Connection, connect
from fleet.broker.context import find_target
from fleet.broker.eventlog import EventLog
from fleet.broker.nodes import Nodes
from fleet.broker.provision import provision
from fleet.broker.server import serve
from fleet.errors import ProcessError
from fleet.job import CapacityType
from fleet.pool.local import LocalNode, LocalPool, Plan
from fleet.settings import Settings
from fleet.sweep import Swept, sweep_for_ever

# After that long a consumer that was told to drain is killed.
DRAIN_WAIT_S = 40.0
# One that still loads its engine holds no work.
LOADING_WAIT_S = 3.0
# A consumer that ends as soon as it starts is not replaced faster.
REPLACE_S = 1.0
SWEEP_S = 2.0

log = logging.getLogger(__name__)
OnReady = Callable[[int, int], None]


class FleetPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What `fleet up` was asked for.

    nats: URL of a broker that is there already, None for one of our own. store: folder for the
    broker's files and the logs, None for a temporary one. port: of our own broker, 0 for a free
    one. replace: start another consumer for one that ended.
    """

    model: str
    engine: str
    on_demand: int = 1
    spot: int = 2
    zones: tuple[str, ...] = ("a",)
    nats: str | None = None
    store: Path | None = None
    port: int = 0
    replace: bool = False
    arguments: tuple[str, ...] = ()
    prices_usd_per_hour: dict[str, float] = {}
    ready_s: float = 300.0


class Ended(msgspec.Struct, frozen=True):
    """A consumer's process ended. code: its exit code, negative for a signal.

    replacement: who takes its place, if anyone. last_words: the last line of its log.
    """

    node: LocalNode
    code: int
    replacement: LocalNode | None
    last_words: str

    @property
    def failed(self) -> bool:
        """Whether it ended by a fault of its own, and not by a signal or a drain."""
        return self.code > 0


class Fleet:
    """A fleet that is up. nats: URL of its broker; monitor: HTTP address of it, if it is ours."""

    def __init__(
        self, plan: FleetPlan, *, nats: str, monitor: str | None, connection: Connection,
        pool: LocalPool, on_ended: Callable[[Ended], None], on_ready: OnReady,
    ) -> None:  # fmt: skip
        self.nats = nats
        self.monitor = monitor
        self.connection = connection
        self.pool = pool
        self.nodes = Nodes(connection)
        self._plan = plan
        self._on_ended = on_ended
        self._on_ready = on_ready
        self._zones = itertools.cycle(plan.zones)
        self._stopping = False
        self._ready = False

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Start all consumers and wait until they are ready."""
        wanted: list[CapacityType] = ["on-demand"] * self._plan.on_demand
        wanted += ["spot"] * self._plan.spot
        started = [await self.add(group, capacity_type) for capacity_type in wanted]
        async with asyncio.timeout(self._plan.ready_s):
            names = [node.node for node in started]
            await self.pool.ready(self.nodes, names, on_ready=self._on_ready)
        self._ready = True

    async def add(
        self, group: asyncio.TaskGroup, capacity_type: CapacityType, zone: str | None = None
    ) -> LocalNode:
        """Start one more consumer, in the next zone unless one is named, and watch over it."""
        node = await self.pool.start(capacity_type, zone or next(self._zones))
        group.create_task(self._watch(group, node))
        return node

    async def stop(self) -> None:
        """Drain every consumer."""
        self._stopping = True
        await self.pool.stop(wait_s=DRAIN_WAIT_S if self._ready else LOADING_WAIT_S)

    async def _watch(self, group: asyncio.TaskGroup, node: LocalNode) -> None:
        code = await self.pool.wait(node.node)
        other = None
        if self._plan.replace and not self._stopping:
            await asyncio.sleep(max(0.0, node.started_at + REPLACE_S - time.time()))
        if self._stopping:
            return
        if self._plan.replace:
            other = await self.add(group, node.capacity_type, node.zone)
        self._on_ended(Ended(node, code, other, self.pool.last_words(node.node)))


@asynccontextmanager
async def fleet_up(
    plan: FleetPlan,
    *,
    on_ended: Callable[[Ended], None] = lambda _: None,
    on_ready: OnReady = lambda _done, _all: None,
) -> AsyncIterator[Fleet]:
    """Bring a fleet up, and drain it when the body ends.

    on_ready: told how many of how many consumers are ready while the fleet comes up.
    """
    settings = Settings.from_env(os.environ, nats=plan.nats)
    async with AsyncExitStack() as stack:
        folder = plan.store or Path(stack.enter_context(tempfile.TemporaryDirectory("-overbook")))
        # Nodes of an earlier life may be known to a broker that is not new.
        is_new = plan.nats is None and plan.store is None
        monitor = None
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
            nats=url,
            monitor=monitor,
            connection=connection,
            pool=pool,
            on_ended=on_ended,
            on_ready=on_ready,
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
            try:
                await _start(fleet, group, plan)
                yield fleet
            finally:
                await fleet.stop()
                sweeping.cancel()


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
