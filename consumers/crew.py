"""What works while the engine is up: a runner, and an intake for each durable. Built by hand."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

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
from fleet.broker.claims import Claims
from fleet.broker.connection import Connection
from fleet.broker.dead import DeadLetters
from fleet.broker.nodes import Nodes
from fleet.broker.queue import Puller
from fleet.broker.results import ResultLog
from fleet.broker.tokens import TokenStream
from fleet.errors import EngineDead
from fleet.events import Emit
from fleet.refusal import Refusals
from fleet.settings import Settings
from fleet.subjects import PRIORITY_GROUP, durable, job_stream

WATCH_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What lives as long as the process, engine or not."""

    me: Identity
    settings: Settings
    connection: Connection
    nodes: Nodes
    totals: Totals
    drain: Drain
    emit: Emit


class Crew:
    """Takes jobs for one engine until the drain begins and what runs has ended."""

    def __init__(self, ground: Ground, engine: Engine, lease: LeaseKeeper) -> None:
        self._ground = ground
        self._engine = engine
        self._fallback = Fallback(ground.connection, ground.me.model)
        self._refuser = _refuser(ground)
        self._cancellations = Cancellations(ground.connection)
        self._runner = _runner(ground, engine, lease, self._refuser, self._cancellations)
        wanted = intents(ground.me.capacity_type, engine.facts.slots)
        self._rooms = {intent: Room(intent.slots, job_items=intent.job_items) for intent in wanted}

    @property
    def jobs(self) -> int:
        """How many jobs are in hand."""
        return self._runner.jobs

    @property
    def items(self) -> int:
        """How many items are in hand."""
        return sum(room.items for room in self._rooms.values())

    async def work(self, ready: Callable[[], None]) -> None:
        """Work until drained; `ready` is called when the pulls begin. Raises EngineDead."""
        async with asyncio.TaskGroup() as beside:
            tasks = [
                beside.create_task(self._watch_engine()),
                beside.create_task(self._cancellations.follow()),
            ]
            if any(intent.fallback for intent in self._rooms):
                tasks.append(beside.create_task(self._fallback.follow()))
            # Jobs in the outer group: they go on when the last pull has ended.
            async with asyncio.TaskGroup() as jobs, asyncio.TaskGroup() as pulls:
                for intent, room in self._rooms.items():
                    pulls.create_task(self._intake(intent, room).work(jobs))
                ready()
            for task in tasks:
                task.cancel()

    def _intake(self, intent: Intent, room: Room) -> Intake:
        return Intake(
            puller=Puller(
                self._ground.connection,
                stream=job_stream(intent.tier),
                durable=durable(intent.tier, self._ground.me.model),
                group=PRIORITY_GROUP if intent.priority is not None else None,
                priority=intent.priority,
            ),
            room=room,
            runner=self._runner,
            refuser=self._refuser,
            drain=self._ground.drain,
            allowed=(lambda: self._fallback.on) if intent.fallback else (lambda: True),
        )

    async def _watch_engine(self) -> None:
        """End the process when its engine shows no life: its jobs go elsewhere by then."""
        while True:
            silent_s = time.monotonic() - self._engine.alive_at
            if silent_s > self._ground.settings.alive_s:
                raise EngineDead(f"the engine gave no sign of life for {silent_s:.0f} s")
            await asyncio.sleep(WATCH_S)


def _refuser(ground: Ground) -> Refuser:
    return Refuser(
        Refusals(
            results=ResultLog(ground.connection),
            dead=DeadLetters(ground.connection),
            emit=ground.emit,
            node=ground.me.node,
            capacity_type=ground.me.capacity_type,
            zone=ground.me.zone,
        )
    )


def _runner(
    ground: Ground,
    engine: Engine,
    lease: LeaseKeeper,
    refuser: Refuser,
    is_cancelled: Cancellations,
) -> Runner:
    results, claims = ResultLog(ground.connection), Claims(ground.connection)
    return Runner(
        me=ground.me,
        settings=ground.settings,
        server=Server(
            engine=engine,
            me=ground.me,
            clock=ShareClock(),
            totals=ground.totals,
            feed=Feed(TokenStream(ground.connection).publish),
        ),
        results=results,
        claims=claims,
        nodes=ground.nodes,
        refuser=refuser,
        keeper=Keeper(
            me=ground.me,
            settings=ground.settings,
            results=results,
            claims=claims,
            drain=ground.drain,
            is_cancelled=is_cancelled,
            totals=ground.totals,
        ),
        lease=lease,
        is_cancelled=is_cancelled,
        emit=ground.emit,
    )
