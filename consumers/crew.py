"""What works while the engine is up: a runner, and an intake for each durable. Built by hand."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from consumers.attempt import Attempts
from consumers.belief import Believer
from consumers.drain import Drain
from consumers.drain_plan import Plan
from consumers.engine import Engine
from consumers.feed import Feed
from consumers.filler import Filler
from consumers.flags import Cancellations, Fallback
from consumers.gate import Gate
from consumers.halt import Halt
from consumers.health import Pulse
from consumers.identity import Identity
from consumers.inputs import Inputs
from consumers.intake import Intake, Room
from consumers.keeper import Keeper
from consumers.lease import LeaseKeeper
from consumers.meter import Totals
from consumers.posture import Intent, intents
from consumers.refuse import Refuser
from consumers.runner import Runner
from consumers.serve import Server
from consumers.settler import Settler
from fleet.blobs.s3 import S3, S3Config
from fleet.broker.claims import Claims
from fleet.broker.clock import ServerClock
from fleet.broker.connection import Connection
from fleet.broker.dead import DeadLetters
from fleet.broker.nodes import Nodes
from fleet.broker.objects import Objects
from fleet.broker.queue import EXPIRES_S, HEARTBEAT_S, Puller
from fleet.broker.results import ResultLog
from fleet.broker.tokens import TokenStream
from fleet.errors import EngineDead
from fleet.events import Emit
from fleet.faults import NONE, Faults
from fleet.job import MIB, Tier
from fleet.refusal import Refusals
from fleet.settings import Settings
from fleet.subjects import CLAIMS, PRIORITY_GROUP, durable, job_stream
from fleet.topology import bucket_stream
from fleet.tracing import Traces

# A dead engine is noticed so soon, also one that has nothing to do.
WATCH_S = 0.25
# While it drains: how often it looks whether anything runs, and how long before the end it leaves.
LOOK_S = 0.1
LEAVE_S = 0.5


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
    traces: Traces
    faults: Faults = NONE


class Crew:
    """Takes jobs for one engine until the drain begins and what runs has ended."""

    def __init__(self, ground: Ground, engine: Engine, lease: LeaseKeeper, pulse: Pulse) -> None:
        self._pulse = pulse
        self._ground = ground
        self._engine = engine
        self._fallback = Fallback(ground.connection, ground.me.model)
        self._refuser = _refuser(ground)
        self._cancellations = Cancellations(ground.connection)
        self._clock = ServerClock(ground.connection, bucket_stream(CLAIMS))
        self._halt = Halt()
        self._gate = Gate()
        self._runner = self._build(lease)
        wanted = intents(ground.me.capacity_type, engine.facts.slots)
        self._pullers: dict[Intent, Puller] = {}
        self._rooms = {intent: Room(intent.slots, job_items=intent.job_items) for intent in wanted}

    @property
    def jobs(self) -> int:
        """How many jobs are in hand."""
        return self._runner.jobs

    @property
    def items(self) -> int:
        """How many items are in hand."""
        return sum(room.items for room in self._rooms.values())

    @property
    def pull_silent_s(self) -> float:
        """For how long any of its pulls has got no word; 0 once nothing is pulled any more."""
        if self._ground.drain.begun.is_set():
            return 0.0
        return max((puller.silent_s for puller in tuple(self._pullers.values())), default=0.0)

    def plan(self, save_in_s: float) -> Plan:
        """Predict how the items in hand end, if they may run for so many seconds more."""
        return self._runner.plan(save_in_s)

    async def work(self, ready: Callable[[], None]) -> None:
        """Work until drained; `ready` is called when the pulls begin. Raises EngineDead."""
        await self._clock.look()
        async with asyncio.TaskGroup() as beside:
            tasks = [
                beside.create_task(self._watch_engine()),
                beside.create_task(self._cancellations.follow()),
                beside.create_task(self._clock.follow()),
            ]
            if any(intent.fallback for intent in self._rooms):
                tasks.append(beside.create_task(self._fallback.follow()))
            # Jobs in the outer group: they go on when the last pull has ended.
            async with asyncio.TaskGroup() as jobs:
                ready()
                while True:
                    async with asyncio.TaskGroup() as pulls:
                        for intent, room in self._rooms.items():
                            pulls.create_task(self._intake(intent, room).work(jobs, self._stopped))
                    if not await self._called_back():
                        break
            for task in tasks:
                task.cancel()
        if self._halt.error is not None:
            raise self._halt.error

    async def _stopped(self) -> None:
        """Wait until no more is to be pulled."""
        drain, halt, news = self._ground.drain, self._halt, asyncio.Event()
        with drain.wakes(news), halt.wakes(news):
            while not (drain.begun.is_set() or halt.begun.is_set()):
                await news.wait()
                news.clear()

    async def _called_back(self) -> bool:
        """Wait, with nothing pulled, until the node is to go; True when it stays after all.

        Told to go by its operator, it goes as soon as nothing runs. Told by a cloud, it stays until
        the end, which may yet be called off.
        """
        drain, halt, news = self._ground.drain, self._halt, asyncio.Event()
        with drain.wakes(news), halt.wakes(news):
            while drain.begun.is_set() and not halt.begun.is_set():
                if drain.left_s <= LEAVE_S or (drain.is_final and self.jobs == 0):
                    return False
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(LOOK_S, drain.left_s - LEAVE_S)):
                        await news.wait()
                news.clear()
        return not halt.begun.is_set()

    def _intake(self, intent: Intent, room: Room) -> Intake:
        # A frozen node's leases lapse two thirds of an ack wait later at the soonest: by then none
        # of its requests may be left, or the jobs come back to it and wait once more.
        expires_s = min(EXPIRES_S, self._ground.settings.ack_wait_s / 2)
        puller = self._pullers[intent] = Puller(
            self._ground.connection,
            stream=job_stream(intent.tier),
            durable=durable(intent.tier, self._ground.me.model),
            group=PRIORITY_GROUP if intent.priority is not None else None,
            priority=intent.priority,
            expires_s=expires_s,
            heartbeat_s=min(HEARTBEAT_S, expires_s / 2),
        )
        return Intake(
            puller=puller,
            room=room,
            runner=self._runner,
            refuser=self._refuser,
            allowed=lambda: self._may_pull(intent),
        )

    def _may_pull(self, intent: Intent) -> bool:
        """Say whether more of it is wanted now; a batch is what a node that may go soon avoids."""
        long_work = intent.tier is Tier.BATCH
        return not (
            self._gate.closed
            or (intent.fallback and not self._fallback.on)
            or (long_work and not self._ground.drain.takes_long_work)
        )

    def _build(self, lease: LeaseKeeper) -> Runner:
        ground, settings, halt = self._ground, self._ground.settings, self._halt
        results, claims = ResultLog(ground.connection), Claims(ground.connection)
        keeper = Keeper(
            me=ground.me,
            settings=settings,
            results=results,
            claims=claims,
            drain=ground.drain,
            halt=halt,
            is_cancelled=self._cancellations,
            totals=ground.totals,
            faults=ground.faults,
            now=self._clock.told,
        )
        settler = Settler(
            me=ground.me,
            keeper=keeper,
            refuser=self._refuser,
            halt=halt,
            emit=ground.emit,
            faults=ground.faults,
        )
        attempts = Attempts(
            server=Server(
                engine=self._engine,
                me=ground.me,
                clock=ground.totals.clock,
                totals=ground.totals,
                feed=Feed(TokenStream(ground.connection), node=ground.me.node),
            ),
            keeper=keeper,
            settler=settler,
            is_cancelled=self._cancellations,
            halt=halt,
            gate=self._gate,
            realtime_deadline_s=settings.realtime_deadline_s,
            now=self._clock.told,
        )
        return Runner(
            me=ground.me,
            checkpoint_s=settings.checkpoint_s,
            results=results,
            claims=claims,
            nodes=ground.nodes,
            refuser=self._refuser,
            filler=Filler(
                _inputs(ground),
                refuser=self._refuser,
                is_cancelled=self._cancellations,
                realtime_deadline_s=settings.realtime_deadline_s,
                stopped=self._stopped,
                now=self._clock.told,
            ),
            believer=Believer(self._engine.facts, self._engine.end_token_ids),
            attempts=attempts,
            settler=settler,
            lease=lease,
            halt=halt,
            gate=self._gate,
            traces=ground.traces,
            emit=ground.emit,
            faults=ground.faults,
        )

    async def _watch_engine(self) -> None:
        """Hand everything over when the engine shows no life: an idle one may be dead, too."""
        while True:
            silent_s = self._pulse.engine_silent_s
            if silent_s == math.inf:
                self._halt.begin(EngineDead("the engine is gone"))
            elif silent_s > self._ground.settings.alive_s:
                self._halt.begin(
                    EngineDead(f"the engine gave no sign of life for {silent_s:.0f} s")
                )
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


def _inputs(ground: Ground) -> Inputs:
    s3 = S3Config.of(ground.settings)
    return Inputs(
        [Objects(ground.connection), *([S3(s3)] if s3 else [])],
        limit_bytes=int(ground.settings.input_mib * MIB),
    )
