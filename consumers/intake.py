"""How many jobs to pull, and when: never more than there is room for."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress

from consumers.refuse import Refuser, receive
from consumers.runner import Runner
from fleet.broker.queue import Delivery, Puller
from fleet.errors import BrokerRefused, BrokerUnreachable, JobRejected
from fleet.job import Job

log = logging.getLogger(__name__)
# One pull asks for no more than this, so that a burst is shared among consumers.
MOST_JOBS = 64
# How fast the estimate of a job's size follows what comes in.
WEIGHT = 0.2
RETRY_S = 1.0
# Jobs end in clusters, at the engine's steps: one request for what they leave, not one for each.
GATHER_S = 0.002


class Room:
    """Room for items of one tier.

    A job may hold one item or hundreds, and its size is known only when it is here; so the number
    to pull follows a running mean, and no more is pulled while the items in hand fill the slots.
    job_items: the size to expect of the first job.
    """

    def __init__(self, slots: int, *, job_items: int = 1) -> None:
        self._slots = slots
        self._items = 0
        self._mean = float(job_items)
        self.freed = asyncio.Event()

    @property
    def items(self) -> int:
        """Items in hand."""
        return self._items

    def wanted(self) -> int:
        """How many jobs may be on their way to us now."""
        free = self._slots - self._items
        return 0 if free <= 0 else min(MOST_JOBS, math.ceil(free / self._mean))

    def enter(self, items: int) -> "Seat":
        """A job of that many items came in."""
        self._mean += WEIGHT * (items - self._mean)
        return Seat(self, items)

    def move(self, items: int) -> None:
        """Count items that came (positive) or went (negative)."""
        self._items += items
        if items < 0:
            self.freed.set()


class Seat:
    """The room that one job takes: less with every item that is finished.

    So the next job is pulled while the last items of this one run, and the engine stays full.
    """

    def __init__(self, room: Room, items: int) -> None:
        self._room = room
        self._items = items
        room.move(items)

    def finish(self) -> None:
        """One item is finished."""
        if self._items:
            self._items -= 1
            self._room.move(-1)

    def leave(self) -> None:
        """The job is settled, released or lost."""
        self._room.move(-self._items)
        self._items = 0


class Intake:
    """Pulls one durable's jobs and runs each in a task of the given group."""

    def __init__(
        self,
        *,
        puller: Puller,
        room: Room,
        runner: Runner,
        refuser: Refuser,
        allowed: Callable[[], bool] = lambda: True,
    ) -> None:
        self._puller = puller
        self._room = room
        self._runner = runner
        self._refuser = refuser
        self._allowed = allowed

    async def work(self, group: asyncio.TaskGroup, stopped: Callable[[], Awaitable[None]]) -> None:
        """Pull until `stopped` returns, then give back what was pulled and not begun."""
        async with self._puller, asyncio.TaskGroup() as pulling:
            task = pulling.create_task(self._pull(group))
            await stopped()
            task.cancel()
        for delivery in await self._puller.stop():
            try:
                await delivery.nak()
            except BrokerUnreachable as error:
                # It comes again when its ack wait ends.
                log.warning("a delivery was not given back", extra={"error": str(error)})

    async def _pull(self, group: asyncio.TaskGroup) -> None:
        while True:
            missing = self._room.wanted() - self._puller.outstanding if self._allowed() else 0
            # A request costs the server as much as several jobs, so small ones are saved up.
            if missing > 0 and missing >= self._puller.outstanding:
                await self._puller.ask(missing)
            if self._puller.outstanding == 0:
                await self._rest()
            elif delivery := await self._puller.next():
                self._begin(group, delivery)

    async def _rest(self) -> None:
        """Wait for room, or for the permission to pull."""
        self._room.freed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S):
                await self._room.freed.wait()
                await asyncio.sleep(GATHER_S)

    def _begin(self, group: asyncio.TaskGroup, delivery: Delivery) -> None:
        try:
            job = receive(delivery)
        except JobRejected as cause:
            group.create_task(self._refuse(delivery, cause))
        else:
            group.create_task(self._run(delivery, job, self._room.enter(len(job.items))))

    async def _run(self, delivery: Delivery, job: Job, seat: Seat) -> None:
        try:
            await self._runner.run(delivery, job, on_item=seat.finish)
        finally:
            seat.leave()

    async def _refuse(self, delivery: Delivery, cause: JobRejected) -> None:
        try:
            await self._refuser.refuse(delivery, cause)
        except (BrokerUnreachable, BrokerRefused) as error:
            # It was not settled, so it comes again.
            log.warning("refusal failed", extra={"error": str(error)})
