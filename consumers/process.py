"""One consumer process: load the engine, work until a notice comes, drain, end."""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from consumers.beat import Heart, Load, started
from consumers.crew import Crew, Ground
from consumers.drain import Drain
from consumers.health import Pulse, served
from consumers.identity import Identity
from consumers.interruption.follow import follow
from consumers.interruption.signals import signals
from consumers.lease import Connect, LeaseKeeper
from consumers.loading import StartEngine, loaded
from consumers.meter import Totals
from consumers.orders import notice_of
from consumers.restarts import Restarts
from consumers.watched import Watched
from fleet import log as log_sink
from fleet.broker import control
from fleet.broker.connection import connect
from fleet.broker.context import Target
from fleet.broker.eventlog import EventLog
from fleet.broker.nodes import Nodes
from fleet.control import Heard, Order
from fleet.errors import EngineDead
from fleet.events import (
    AnyEvent,
    EngineLost,
    NodeDraining,
    NodeHinted,
    NodeReady,
    NodeResumed,
    NodeStopped,
)
from fleet.faults import Faults
from fleet.hurt import be_hurt
from fleet.metrics.look import Look
from fleet.node import NodeState
from fleet.notice import Notice
from fleet.settings import Settings
from fleet.systemd import Unit
from fleet.tracing import Traces

# A spot node hands over at once; on-demand ends by an operator's will and has time.
GRACE_S: Final = {"spot": 0.0, "on-demand": 25.0}


async def consume(
    *, me: Identity, settings: Settings, target: Target, traces: Traces, start_engine: StartEngine
) -> None:
    """Run one consumer from start to drained.

    Raises BrokerUnreachable and BrokerRefused at start, ConnectionLost and EngineDead later.
    """
    grace_s = GRACE_S[me.capacity_type] if settings.drain_s is None else settings.drain_s
    unit, watched = Unit.of(os.environ), Watched()
    async with connect(target, name=me.node) as connection, EventLog(connection) as events:

        def emit(event: AnyEvent) -> None:
            log_sink.record(event)
            unit.hear(event)
            watched.hear(event)
            events.emit(event)

        ground = Ground(
            me=me,
            settings=settings,
            connection=connection,
            nodes=Nodes(connection),
            totals=Totals(watched.written),
            drain=Drain(grace_s=grace_s, reserve_s=settings.drain_reserve_s),
            emit=emit,
            traces=traces,
            faults=Faults(os.environ),
        )
        # A connection of its own: the lease must live while this event loop is busy.
        life = _Life(
            ground, lambda: connect(target, name=f"{me.node}-lease"), unit, watched.kv_cache
        )
        port, look = settings.health_port, partial(life.look, events)
        pages = {} if port is None else watched.pages(look)
        with served(life.pulse, host=settings.health_host, port=port, pages=pages):
            await life.live(start_engine)


class _Life:
    """The states of a consumer, and the engine that it has in the middle of them."""

    def __init__(
        self,
        ground: Ground,
        connect_lease: Connect,
        unit: Unit,
        kv_cache: Callable[[], float | None],
    ) -> None:
        self._ground = ground
        self._connect_lease = connect_lease
        self._unit = unit
        self._ready = False
        self._crew: Crew | None = None
        self._slots = 0
        self._heart = Heart(
            me=ground.me,
            nodes=ground.nodes,
            totals=ground.totals,
            load=self._load,
            emit=ground.emit,
            beat_s=ground.settings.beat_s,
            ttl_s=ground.settings.beat_ttl_s,
            kv_cache=kv_cache,
        )
        self.pulse = Pulse(
            alive_s=ground.settings.alive_s,
            blocked_s=ground.settings.blocked_s,
            connected=lambda: ground.connection.connected,
            state=lambda: self._load().state,
        )

    async def live(self, start_engine: StartEngine) -> None:
        ground, me, heart = self._ground, self._ground.me, self._heart
        ground.emit(started(me))
        settings = ground.settings
        orders = control.serve(ground.connection, me.node, self._obey, be_hurt)
        with signals(self._hear):
            async with asyncio.TaskGroup() as beside:
                tasks = [
                    beside.create_task(ground.connection.closed()),
                    beside.create_task(heart.beat_for_ever()),
                    beside.create_task(self.pulse.tick_for_ever()),
                    beside.create_task(self._unit.watch(self.pulse.ill)),
                    beside.create_task(orders),
                    beside.create_task(follow(self._hear, cloud=settings.cloud, env=os.environ)),
                ]
                await self._work_until_drained(start_engine)
                for task in tasks:
                    task.cancel()
        await heart.stop()
        ground.emit(
            NodeStopped(
                at=time.time(),
                node=me.node,
                cause=ground.drain.cause,
                tokens_generated=ground.totals.tokens_generated,
            )
        )

    async def _work_until_drained(self, start_engine: StartEngine) -> None:
        """Load and work. A notice while the engine loads ends that: there is nothing to drain."""
        async with asyncio.TaskGroup() as group:
            working = group.create_task(self._work(start_engine))
            while not working.done():
                noticed = group.create_task(self._ground.drain.begun.wait())
                await asyncio.wait({working, noticed}, return_when=asyncio.FIRST_COMPLETED)
                noticed.cancel()
                if self._crew is None:
                    working.cancel()
                    break
                # Wait until it is called off, if ever, and then for the next one.
                called_off = group.create_task(self._ground.drain.withdrawn.wait())
                await asyncio.wait({working, called_off}, return_when=asyncio.FIRST_COMPLETED)
                called_off.cancel()

    async def _work(self, start_engine: StartEngine) -> None:
        """Work with one engine after another: one that died under way gets a successor.

        Raises EngineDead when one does not come up, or too many die in a row.
        """
        restarts = Restarts()
        while True:
            try:
                await self._work_with_one(start_engine)
            except EngineDead as error:
                was_ready, self._ready, self._crew = self._ready, False, None
                goes = self._ground.drain.begun.is_set()
                again = was_ready and not goes and restarts.allowed(time.monotonic())
                self._turn(
                    EngineLost(
                        at=time.time(), node=self._ground.me.node, reason=str(error), restarts=again
                    )
                )
                if goes:
                    return
                if not again:
                    raise
            else:
                return

    async def _work_with_one(self, start_engine: StartEngine) -> None:
        began, settings = time.monotonic(), self._ground.settings
        async with AsyncExitStack() as stack:
            engine = await loaded(stack, start_engine, settings.load_s)
            self._slots = engine.facts.slots
            self.pulse.engine_alive_at = lambda: engine.alive_at
            stack.callback(self._forget_engine)
            async with LeaseKeeper(
                self._connect_lease,
                interval_s=settings.ack_wait_s / 3,
                fit=lambda: self.pulse.ill() is None,
            ) as lease:
                self._crew = Crew(self._ground, engine, lease, self.pulse)
                await self._crew.work(lambda: self._is_ready(time.monotonic() - began))

    def _forget_engine(self) -> None:
        """Its end is wanted from here on, and no illness."""
        self.pulse.engine_alive_at = None

    def _is_ready(self, load_s: float) -> None:
        self._ready = True
        self._turn(NodeReady(at=time.time(), node=self._ground.me.node, load_s=load_s))

    def _obey(self, order: Order) -> Heard:
        """Do what an operator says, and tell how things stand then."""
        notice = notice_of(order, time.monotonic())
        changed = notice is None or self._hear(notice)
        drain, load = self._ground.drain, self._load()
        return Heard(
            node=self._ground.me.node,
            pid=self._ground.me.pid,
            state=load.state,
            changed=changed,
            jobs=load.jobs,
            items=load.items,
            left_s=max(0.0, drain.left_s) if drain.begun.is_set() else None,
        )

    def _hear(self, notice: Notice) -> bool:
        """Take a notice in, from whoever it comes, and say once what it changed."""
        drain, at, node = self._ground.drain, time.time(), self._ground.me.node
        if not drain.hear(notice):
            return False
        match notice.kind:
            case "rebalance":
                event: AnyEvent = NodeHinted(at=at, node=node, source=notice.source)
            case "withdrawn":
                event = NodeResumed(at=at, node=node, source=notice.source)
            case _:
                plan = self._crew.plan(drain.save_in_s) if self._crew else None
                event = NodeDraining(
                    at=at,
                    node=node,
                    cause=notice.detail if notice.source == "signal" else notice.source,
                    left_s=max(0.0, drain.left_s),
                    jobs=self._crew.jobs if self._crew else 0,
                    items_to_finish=plan.finish if plan else 0,
                    items_to_save=plan.save if plan else 0,
                )
        self._turn(event)
        return True

    def _turn(self, event: AnyEvent) -> None:
        """Say that another state begins, and how the time until now was spent."""
        self._heart.tell_usage()
        self._ground.emit(event)

    def look(self, events: EventLog) -> Look:
        """Say how things stand, to whoever asks for numbers; from another thread."""
        ground, crew, totals = self._ground, self._crew, self._ground.totals
        return Look(
            node=self._heart.node(),
            instance_type=ground.me.instance_type,
            connected=ground.connection.connected,
            pull_silent_s=crew.pull_silent_s if crew else 0.0,
            engine_silent_s=self.pulse.engine_silent_s,
            unsaved_s=totals.unsaved_s if crew and crew.items else 0.0,
            busy_s=totals.clock.busy_s,
            stall_s=totals.clock.stall_s,
            events_dropped=events.dropped,
        )

    def _load(self) -> Load:
        crew, drain = self._crew, self._ground.drain
        jobs = crew.jobs if crew else 0
        return Load(
            state=self._state(jobs),
            jobs=jobs,
            items=crew.items if crew else 0,
            slots=self._slots,
            notice=drain.cause or ("" if drain.takes_long_work else "rebalance"),
            leaves_in_s=drain.left_s if drain.begun.is_set() else None,
        )

    def _state(self, jobs: int) -> NodeState:
        if self._ground.drain.begun.is_set():
            return "draining" if jobs else "drained"
        return "ready" if self._ready else "loading"
