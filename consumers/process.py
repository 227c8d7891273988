"""One consumer process from start to drained: every part is built here, by hand."""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from consumers.beat import Heart, Load
from consumers.drain import Drain
from consumers.engine import Engine
from consumers.feed import Feed
from consumers.flags import Cancellations, Fallback
from consumers.identity import Identity
from consumers.intake import Intake, Room
from consumers.keeper import Keeper
from consumers.lease import LeaseKeeper
from consumers.meter import ShareClock, Totals
from consumers.posture import Intent, intents
from consumers.refuse import Refuser
from consumers.runner import Runner
from consumers.serve import Server
from fleet import log as log_sink
from fleet.broker.claims import Claims
from fleet.broker.connection import Connection, connect
from fleet.broker.context import Target
from fleet.broker.dead import DeadLetters
from fleet.broker.eventlog import EventLog
from fleet.broker.nodes import Nodes
from fleet.broker.queue import Puller
from fleet.broker.results import ResultLog
from fleet.broker.tokens import TokenStream
from fleet.errors import EngineDead
from fleet.events import AnyEvent, NodeDraining, NodeReady, NodeStarted, NodeStopped
from fleet.job import CapacityType
from fleet.node import NodeState
from fleet.refusal import Refusals
from fleet.settings import Settings
from fleet.subjects import PRIORITY_GROUP, durable, job_stream

log = logging.getLogger(__name__)
StartEngine = Callable[[], AbstractAsyncContextManager[Engine]]
# A spot node hands over at once; on-demand ends by an operator's will and has time.
GRACE_S = {"spot": 0.0, "on-demand": 25.0}
WATCH_S = 1.0


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
    """Load the engine, work until a notice comes, drain, and return.

    Raises BrokerUnreachable at start, ConnectionLost and EngineDead later.
    """
    grace_s = GRACE_S[me.capacity_type] if settings.drain_s is None else settings.drain_s
    drain = Drain(grace_s=grace_s)
    async with connect(target, name=me.node) as connection, EventLog(connection) as events:

        def emit(event: AnyEvent) -> None:
            log_sink.record(event)
            events.emit(event)

        parts = _Parts(me, settings, connection, emit, drain, lambda: connect(target, name=me.node))
        emit(NodeStarted(
            at=time.time(), node=me.node, capacity_type=me.capacity_type, zone=me.zone,
            model=me.model, engine=me.engine, pid=me.pid,
        ))  # fmt: skip
        async with _noticed(drain, parts), asyncio.TaskGroup() as watching:
            tasks = [
                watching.create_task(connection.closed()),
                watching.create_task(parts.heart.beat_for_ever()),
            ]
            await parts.live(start_engine)
            for task in tasks:
                task.cancel()
        parts.heart.tell_usage()
        await parts.nodes.forget(me.node)
        emit(NodeStopped(
            at=time.time(), node=me.node, cause=drain.cause,
            tokens_generated=parts.totals.tokens_generated,
        ))  # fmt: skip


@asynccontextmanager
async def _noticed(drain: Drain, parts: "_Parts") -> AsyncIterator[None]:
    """Turn SIGTERM and SIGINT into a drain; the second of them hastens it."""
    loop = asyncio.get_running_loop()

    def notice(name: str) -> None:
        if not drain.begun.is_set():
            parts.state = "draining"
        drain.begin(name)
        parts.told_to_drain()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, notice, number.name)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class _Parts:
    """What lives as long as the process, and the life of its engine."""

    def __init__(
        self,
        me: Identity,
        settings: Settings,
        connection: Connection,
        emit: Callable[[AnyEvent], None],
        drain: Drain,
        connect_again: Callable[[], AbstractAsyncContextManager[Connection]],
    ) -> None:
        self.me = me
        self.state: NodeState = "loading"
        self.nodes = Nodes(connection)
        self.totals = Totals()
        self._settings = settings
        self._connection = connection
        self._emit = emit
        self._drain = drain
        self._connect_again = connect_again
        self._rooms: list[Room] = []
        self._jobs: Callable[[], int] = lambda: 0
        self._slots = 0
        self.heart = Heart(
            me=me, nodes=self.nodes, totals=self.totals, load=self._load, emit=emit,
            beat_s=settings.beat_s, ttl_s=settings.beat_ttl_s,
        )  # fmt: skip

    def told_to_drain(self) -> None:
        """Say so; jobs are what runs at this moment."""
        left_s = self._drain.left_s
        self._emit(NodeDraining(
            at=time.time(), node=self.me.node, cause=self._drain.cause,
            left_s=max(0.0, left_s), jobs=self._jobs(),
        ))  # fmt: skip

    async def live(self, start_engine: StartEngine) -> None:
        """Load the engine and work until drained. A notice while it loads ends the loading."""
        async with asyncio.TaskGroup() as group:
            working = group.create_task(self._load_and_work(start_engine))
            waiting = group.create_task(self._drain.begun.wait())
            await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if self._slots == 0:
                working.cancel()
            waiting.cancel()

    async def _load_and_work(self, start_engine: StartEngine) -> None:
        began = time.monotonic()
        async with start_engine() as engine:
            self._slots = engine.facts.slots
            with LeaseKeeper(
                self._connect_again,
                interval_s=self._settings.ack_wait_s / 3,
                alive_at=lambda: engine.alive_at,
                alive_s=self._settings.alive_s,
            ) as lease:
                await self._work(engine, lease, load_s=time.monotonic() - began)

    async def _work(self, engine: Engine, lease: LeaseKeeper, *, load_s: float) -> None:
        me, settings, connection = self.me, self._settings, self._connection
        results, claims = ResultLog(connection), Claims(connection)
        is_cancelled = Cancellations(connection)
        refuser = Refuser(
            Refusals(
                results=results, dead=DeadLetters(connection), emit=self._emit, node=me.node,
                capacity_type=me.capacity_type, zone=me.zone,
            )
        )  # fmt: skip
        runner = Runner(
            me=me,
            settings=settings,
            server=Server(
                engine=engine,
                me=me,
                clock=ShareClock(),
                totals=self.totals,
                feed=Feed(TokenStream(connection).publish),
            ),
            results=results,
            claims=claims,
            nodes=self.nodes,
            refuser=refuser,
            keeper=Keeper(
                me=me, settings=settings, results=results, claims=claims, drain=self._drain,
                is_cancelled=is_cancelled, totals=self.totals,
            ),
            lease=lease,
            is_cancelled=is_cancelled,
            emit=self._emit,
        )  # fmt: skip
        self._jobs = lambda: runner.jobs
        fallback = Fallback(connection, me.model)
        async with asyncio.TaskGroup() as beside:
            tasks = [beside.create_task(self._watch(engine))]
            if me.capacity_type == "on-demand":
                tasks.append(beside.create_task(fallback.follow()))
            async with asyncio.TaskGroup() as jobs, asyncio.TaskGroup() as pulls:
                for intent in intents(me.capacity_type, engine.facts.slots):
                    intake = self._intake(intent, runner, refuser, fallback)
                    pulls.create_task(intake.work(jobs))
                if not self._drain.begun.is_set():
                    self.state = "ready"
                self._emit(NodeReady(at=time.time(), node=me.node, load_s=load_s))
            for task in tasks:
                task.cancel()

    def _intake(
        self, intent: Intent, runner: Runner, refuser: Refuser, fallback: Fallback
    ) -> Intake:
        room = Room(intent.slots, job_items=intent.job_items)
        self._rooms.append(room)
        return Intake(
            puller=Puller(
                self._connection,
                stream=job_stream(intent.tier),
                durable=durable(intent.tier, self.me.model),
                group=PRIORITY_GROUP if intent.priority is not None else None,
                priority=intent.priority,
            ),
            room=room,
            runner=runner,
            refuser=refuser,
            drain=self._drain,
            allowed=(lambda: fallback.on) if intent.fallback else (lambda: True),
        )

    async def _watch(self, engine: Engine) -> None:
        """End the process when its engine shows no life: its jobs go elsewhere by then."""
        while True:
            silent_s = time.monotonic() - engine.alive_at
            if silent_s > self._settings.alive_s:
                raise EngineDead(f"the engine gave no sign of life for {silent_s:.0f} s")
            await asyncio.sleep(WATCH_S)

    def _load(self) -> Load:
        return Load(
            state=self.state,
            jobs=self._jobs(),
            items=sum(room.items for room in self._rooms),
            slots=self._slots,
        )
