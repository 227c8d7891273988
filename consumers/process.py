"""One consumer process: load the engine, work until a notice comes, drain, end."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Final

from consumers.beat import Heart, Load
from consumers.crew import Crew, Ground
from consumers.drain import Drain
from consumers.engine import Engine
from consumers.identity import Identity
from consumers.lease import Connect, LeaseKeeper
from consumers.meter import Totals
from fleet import log as log_sink
from fleet.broker.connection import connect
from fleet.broker.context import Target
from fleet.broker.eventlog import EventLog
from fleet.broker.nodes import Nodes
from fleet.events import AnyEvent, NodeDraining, NodeReady, NodeStarted, NodeStopped
from fleet.job import CapacityType
from fleet.node import NodeState
from fleet.notice import Notice
from fleet.settings import Settings

StartEngine = Callable[[], AbstractAsyncContextManager[Engine]]
NOTICES: Final = (signal.SIGTERM, signal.SIGINT)
# A spot node hands over at once; on-demand ends by an operator's will and has time.
GRACE_S: Final = {"spot": 0.0, "on-demand": 25.0}


def identity(
    *, node: str, capacity_type: CapacityType, model: str, engine: str, settings: Settings
) -> Identity:
    """Say who this process is."""
    return Identity(
        node=node,
        capacity_type=capacity_type,
        zone=settings.zone,
        model=model,
        engine=engine,
        pid=os.getpid(),
        host=socket.gethostname(),
        started_at=time.time(),
        price_usd_per_hour=settings.price_usd_per_hour,
    )


async def consume(
    *, me: Identity, settings: Settings, target: Target, start_engine: StartEngine
) -> None:
    """Run one consumer from start to drained.

    Raises BrokerUnreachable and BrokerRefused at start, ConnectionLost and EngineDead later.
    """
    grace_s = GRACE_S[me.capacity_type] if settings.drain_s is None else settings.drain_s
    async with connect(target, name=me.node) as connection, EventLog(connection) as events:

        def emit(event: AnyEvent) -> None:
            log_sink.record(event)
            events.emit(event)

        ground = Ground(
            me=me,
            settings=settings,
            connection=connection,
            nodes=Nodes(connection),
            totals=Totals(),
            drain=Drain(grace_s=grace_s),
            emit=emit,
        )
        # A connection of its own: the lease must live while this event loop is busy.
        await _Life(ground, lambda: connect(target, name=f"{me.node}-lease")).live(start_engine)


class _Life:
    """The states of a consumer, and the engine that it has in the middle of them."""

    def __init__(self, ground: Ground, connect_lease: Connect) -> None:
        self._ground = ground
        self._connect_lease = connect_lease
        self._state: NodeState = "loading"
        self._crew: Crew | None = None
        self._slots = 0

    async def live(self, start_engine: StartEngine) -> None:
        me, emit = self._ground.me, self._ground.emit
        emit(
            NodeStarted(
                at=time.time(),
                node=me.node,
                capacity_type=me.capacity_type,
                zone=me.zone,
                model=me.model,
                engine=me.engine,
                pid=me.pid,
            )
        )
        heart = self._heart()
        with self._notices():
            async with asyncio.TaskGroup() as beside:
                tasks = [
                    beside.create_task(self._ground.connection.closed()),
                    beside.create_task(heart.beat_for_ever()),
                ]
                await self._work_until_drained(start_engine)
                for task in tasks:
                    task.cancel()
        heart.tell_usage()
        await self._ground.nodes.forget(me.node)
        emit(
            NodeStopped(
                at=time.time(),
                node=me.node,
                cause=self._ground.drain.cause,
                tokens_generated=self._ground.totals.tokens_generated,
            )
        )

    async def _work_until_drained(self, start_engine: StartEngine) -> None:
        """Load and work. A notice while the engine loads ends that: there is nothing to drain."""
        async with asyncio.TaskGroup() as group:
            working = group.create_task(self._work(start_engine))
            noticed = group.create_task(self._ground.drain.begun.wait())
            await asyncio.wait({working, noticed}, return_when=asyncio.FIRST_COMPLETED)
            if self._crew is None:
                working.cancel()
            noticed.cancel()

    async def _work(self, start_engine: StartEngine) -> None:
        began, settings = time.monotonic(), self._ground.settings
        async with start_engine() as engine:
            self._slots = engine.facts.slots
            with LeaseKeeper(
                self._connect_lease,
                interval_s=settings.ack_wait_s / 3,
                alive_at=lambda: engine.alive_at,
                alive_s=settings.alive_s,
            ) as lease:
                self._crew = Crew(self._ground, engine, lease)
                await self._crew.work(lambda: self._ready(time.monotonic() - began))

    def _ready(self, load_s: float) -> None:
        if self._state == "loading":
            self._state = "ready"
        self._ground.emit(NodeReady(at=time.time(), node=self._ground.me.node, load_s=load_s))

    @contextmanager
    def _notices(self) -> Iterator[None]:
        """Turn SIGTERM and SIGINT into a drain; the second of them hastens it."""
        loop = asyncio.get_running_loop()
        for number in NOTICES:
            loop.add_signal_handler(number, self._notice, number.name)
        try:
            yield
        finally:
            for number in NOTICES:
                loop.remove_signal_handler(number)

    def _notice(self, cause: str) -> None:
        drain = self._ground.drain
        self._state = "draining"
        drain.hear(Notice(kind="terminate", source="signal", detail=cause))
        self._ground.emit(
            NodeDraining(
                at=time.time(),
                node=self._ground.me.node,
                cause=cause,
                left_s=max(0.0, drain.left_s),
                jobs=self._crew.jobs if self._crew else 0,
            )
        )

    def _heart(self) -> Heart:
        ground = self._ground
        return Heart(
            me=ground.me,
            nodes=ground.nodes,
            totals=ground.totals,
            load=self._load,
            emit=ground.emit,
            beat_s=ground.settings.beat_s,
            ttl_s=ground.settings.beat_ttl_s,
        )

    def _load(self) -> Load:
        crew = self._crew
        return Load(
            state=self._state,
            jobs=crew.jobs if crew else 0,
            items=crew.items if crew else 0,
            slots=self._slots,
        )
