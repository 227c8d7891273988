"""The sweep: no accepted job lies where nobody will ever look.

Consumers end the jobs that they are given. The sweep ends the others: jobs for models that nobody
serves and on subjects that are none, jobs past their deadline or cancelled while no consumer lives,
and jobs that their durable gave up or forgot.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Final, Never

import msgspec

from fleet.broker.advisories import Exhausted, exhausted
from fleet.broker.clock import ServerClock
from fleet.broker.connection import Connection
from fleet.broker.dead import DeadLetters
from fleet.broker.durables import DurableState, durable_states
from fleet.broker.nodes import Nodes
from fleet.broker.provision import served_models
from fleet.broker.queued import Queued, queued, queued_at, state_of
from fleet.broker.results import ResultLog
from fleet.broker.stream_state import StreamState
from fleet.cancelled import CancelledJobs
from fleet.endings import EXHAUSTED, EXPIRED
from fleet.errors import BrokerRefused, BrokerUnreachable, JobRejected
from fleet.events import Emit
from fleet.expiry import Deadlines
from fleet.finisher import NODE, Ending, Finisher
from fleet.job import Tier
from fleet.refusal import Refusals
from fleet.stuck import Rescue
from fleet.subjects import JOB_STREAMS, RESULTS, job_stream, parse_job_subject, shown

# A model may be added a moment after its first job; give `fleet init` that long.
PATIENCE_S: Final = 2.0
# A deadline is the consumer's to keep while it has the job; then it is ours.
GRACE_QUEUED_S: Final = 0.5
GRACE_DELIVERED_S: Final = 10.0
AGAIN_S: Final = 5.0
# So many expired jobs a look: each takes several writes that wait for the disk.
ROUND: Final = 500
_NO_TEXT: Final = "\ufffd"
log = logging.getLogger(__name__)


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the sweep did. code: a cause of refusal, an ending, or `put_back`."""

    code: str
    message: str
    subject: str
    job: str


class Sweeper:
    """Sweeps again and again, and remembers what it has seen. Two at once do no harm.

    realtime_deadline_s: for real-time jobs that name no deadline. checkpoint_s: the consumers'.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        emit: Emit = lambda _: None,
        realtime_deadline_s: float = 300.0,
        checkpoint_s: float = 5.0,
    ) -> None:
        self._connection = connection
        refusals = Refusals(
            results=ResultLog(connection), dead=DeadLetters(connection), emit=emit, node=NODE
        )
        self._finisher = Finisher(connection, refusals=refusals, checkpoint_s=checkpoint_s)
        self._clock = ServerClock(connection, RESULTS)
        self._nodes = Nodes(connection)
        self._deadlines = {
            tier: Deadlines(connection, tier, realtime_deadline_s=realtime_deadline_s)
            for tier in Tier
        }
        self._rescue = Rescue(connection, self._finisher, realtime_deadline_s=realtime_deadline_s)
        self._cancelled = CancelledJobs(connection, self._finisher)
        self._advisory = 0
        self._exhausted: deque[Exhausted] = deque()
        self.durables: list[DurableState] = []

    @property
    def waits(self) -> bool:
        """Whether something is given time that a next look would end."""
        return self._rescue.waits or self._cancelled.waits

    async def sweep(self) -> list[Swept]:
        """Look once; return what was done. Raises BrokerRefused, BrokerUnreachable."""
        # A queue that an operator deleted is missed, and no reason to refuse its jobs, as long as
        # a node that serves it lives.
        living = {node.model for node in await self._nodes.list()}
        models = tuple(sorted({*await served_models(self._connection), *living}))
        done: list[Swept] = []
        durables: list[DurableState] = []
        for tier in Tier:
            state = await state_of(self._connection, tier)
            done += [one async for one in self._refuse_strays(tier, state, models)]
            of_tier = await durable_states(self._connection, tier, models, state)
            done += [one async for one in self._expire(tier, state, of_tier)]
            durables += of_tier
        done += [
            _swept("cancelled", "cancelled while no consumer took it", one)
            for one in await self._cancelled.end(durables)
        ]
        done += [one async for one in self._bury_exhausted()]
        for durable in durables:
            done += [
                _swept(
                    "put_back", f"{durable.name} had forgotten it; it is in the queue again", one
                )
                for one in await self._rescue.look(durable)
            ]
        self.durables = durables
        return done

    async def _refuse_strays(
        self, tier: Tier, state: StreamState, models: tuple[str, ...]
    ) -> AsyncIterator[Swept]:
        stream = job_stream(tier)
        patterns = {
            _pattern(subject) for subject in state.subjects or () if unserved(subject, models)
        }
        for pattern in sorted(patterns):
            now = await self._clock.now()
            async for one in queued(self._connection, stream, pattern):
                cause = unserved(one.subject, models)
                if cause is not None and now - one.written_at > PATIENCE_S:
                    await self._finisher.refuse(one, cause)
                    yield _swept(cause.code, str(cause), one)

    async def _expire(
        self, tier: Tier, state: StreamState, durables: list[DurableState]
    ) -> AsyncIterator[Swept]:
        """End jobs past their deadline; those that were delivered get a little longer."""
        deadlines, now = self._deadlines[tier], await self._clock.now()
        await deadlines.read(state, now=now)
        delivered = {durable.model: durable.delivered_seq for durable in durables}
        for _ in range(ROUND):
            if (sequence := deadlines.due(now=now - GRACE_QUEUED_S)) is None:
                return
            # Also where this look breaks off: nobody else remembers the job.
            again_at: float | None = now + AGAIN_S
            ending: Ending = "left"
            try:
                one = await queued_at(self._connection, job_stream(tier), sequence)
                if one is None:
                    again_at = None
                elif (until := self._granted(one, tier, delivered, now=now)) > now:
                    again_at = until
                elif (ending := await self._finisher.end(one, EXPIRED)) != "left":
                    again_at = None
            finally:
                deadlines.done(again_at=again_at)
            if one is not None and ending == "ended":
                yield _swept("expired", EXPIRED.message, one)

    def _granted(
        self, one: Queued, tier: Tier, delivered: Mapping[str, int], *, now: float
    ) -> float:
        """Say until when an overdue job is left to the consumer that may have it."""
        if one.sequence > delivered.get(one.subject.split(".")[2], 0):
            return now
        return (self._deadlines[tier].of(one) or now) + GRACE_DELIVERED_S

    async def _bury_exhausted(self) -> AsyncIterator[Swept]:
        """Give up what reached a cap of deliveries that somebody set on a durable."""
        said = exhausted(self._connection, after=self._advisory)
        async with aclosing(said):
            async for self._advisory, advisory in said:
                if advisory.stream in JOB_STREAMS:
                    self._exhausted.append(advisory)
        for _ in range(len(self._exhausted)):
            # It goes to the end of the line, and stays there where this look breaks off.
            self._exhausted.rotate(-1)
            advisory = self._exhausted[-1]
            one = await queued_at(self._connection, advisory.stream, advisory.stream_seq)
            # A stream that was made anew counts from one again: older advisories are not about it.
            if one is None or one.written_at > advisory.timestamp.timestamp():
                self._exhausted.pop()
                continue
            reason = (
                f"durable {advisory.consumer} delivered it {advisory.deliveries} times, which is "
                "the cap that was set on it, and none of them ended in a result: set max_deliver "
                "of the durable to -1, then `fleet dead requeue`"
            )
            cause = JobRejected(reason, code=EXHAUSTED.code)
            ending = await self._finisher.end(one, EXHAUSTED, bury=cause)
            if ending != "left":
                self._exhausted.pop()
            if ending == "ended":
                yield _swept(cause.code, reason, one)


async def sweep_for_ever(
    connection: Connection,
    *,
    every_s: float,
    emit: Emit = lambda _: None,
    swept: Callable[[list[Swept]], None] = lambda _: None,
    realtime_deadline_s: float = 300.0,
    checkpoint_s: float = 5.0,
) -> Never:
    """Sweep each `every_s` seconds; `swept` hears what was done. Only cancelling ends it.

    A broker that does not answer or refuses is asked again.
    """
    sweeper = Sweeper(
        connection, emit=emit, realtime_deadline_s=realtime_deadline_s, checkpoint_s=checkpoint_s
    )
    while True:
        try:
            swept(await sweeper.sweep())
        except (BrokerUnreachable, BrokerRefused) as error:
            log.warning("the sweep failed", extra={"error": str(error)})
        await asyncio.sleep(every_s)


async def sweep_once(sweeper: Sweeper, *, patience_s: float) -> AsyncIterator[list[Swept]]:
    """Sweep until nothing is left that time alone would decide, at most `patience_s` seconds."""
    give_up = time.monotonic() + patience_s
    yield await sweeper.sweep()
    while sweeper.waits and time.monotonic() < give_up:
        await asyncio.sleep(1)
        yield await sweeper.sweep()


def unserved(subject: str, models: tuple[str, ...]) -> JobRejected | None:
    """Say why nobody is served by this subject, or None if somebody is."""
    try:
        where = parse_job_subject(subject)
    except JobRejected as cause:
        return cause
    if where.model in models:
        return None
    known = ", ".join(models) or "none"
    return JobRejected(
        f"no consumer serves the model {shown(where.model)}; served: {known}. Correct the subject, "
        f"or create its queues with `fleet init --model {where.model}` and send it again",
        code="unknown_model",
    )


def _pattern(subject: str) -> str:
    """Return a query that finds a stored subject, and perhaps others.

    The subject itself does, a literal wildcard too; but bytes that are no text do not come back as
    they were, so from there on it is anything.
    """
    known, unknown, _ = subject.partition(_NO_TEXT)
    return f"{known.rpartition('.')[0]}.>" if unknown else subject


def _swept(code: str, message: str, one: Queued) -> Swept:
    return Swept(code=code, message=message, subject=one.subject, job=one.job)
