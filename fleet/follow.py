"""Following one job: its live answer and its result, from wherever they come.

News come by subscription. Each message of the token stream names the one before it, so a lost one
is noticed and read; and now and then, and after each reconnect, we look for what nobody told us.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import msgspec

from fleet.broker.connection import Connection
from fleet.broker.queued import find
from fleet.broker.results import ResultLog
from fleet.broker.stored import messages
from fleet.broker.tokens import TokenMessage, TokenStream
from fleet.endings import CONFLICT
from fleet.errors import BrokerRefused, BrokerUnreachable, JobRejected, NotFound
from fleet.job import ResultLine, TokenDelta
from fleet.live_answer import LiveAnswer
from fleet.subjects import NO_BATCH, RESULTS, identifier, results_subject, token
from fleet.wire import BATCH

# News come by subscription; this is for the one that got lost.
RECHECK_S: Final = 2.0
SOON_S: Final = 0.01
# A broker that comes back refuses for a moment; one that refuses longer will go on refusing.
REFUSED_S: Final = 10.0

T = TypeVar("T")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job's answers are. sha256: of the body that it must have; None for any."""

    tenant: str
    job: str
    batch: str | None = None
    sha256: str | None = None


async def locate(
    connection: Connection, *, tenant: str, job: str, batch: str | None = None
) -> Place:
    """Find a job by its id, in whatever batch it is; its tenant's queues are read if need be.

    Raises NotFound if it neither waits, nor runs, nor has results; JobRejected for what is no name.
    """
    token(tenant, what="tenant")
    identifier(job, what="job id")
    if batch is not None:
        identifier(batch, what="batch id")
    place = Place(tenant=tenant, job=job, batch=batch)
    if (found := await _logged(connection, place)) is not None:
        return found
    if (queued := await find(connection, tenant, job)) is not None:
        return msgspec.structs.replace(place, batch=queued.headers.get(BATCH))
    # It may have ended while we looked for it.
    if (found := await _logged(connection, place)) is not None:
        return found
    raise NotFound(
        f"tenant {tenant} has no job {job} in its queues, and no result of one: check the id, "
        "--tenant and --batch; `fleet dead` lists jobs that were given up"
    )


async def _logged(connection: Connection, place: Place) -> Place | None:
    """Look for a job's log."""
    subject = results_subject(place.tenant, place.batch or "*", place.job)
    async for stored in messages(connection, RESULTS, subject):
        batch = stored.subject.split(".")[2]
        return msgspec.structs.replace(place, batch=None if batch == NO_BATCH else batch)
    return None


class Follower:
    """Waits for one job."""

    def __init__(self, connection: Connection, place: Place) -> None:
        self._connection = connection
        self._place = place
        self._where = (place.tenant, place.batch, place.job)
        self._log = ResultLog(connection)
        self._stream = TokenStream(connection)
        self._log_patience, self._stream_patience = _Patience(), _Patience()
        self._seen = 0

    async def result(self) -> tuple[ResultLine, ...]:
        """Wait for the job's lines, good and bad ones, in the order of its items.

        There is no bound. Raises JobRejected if the id belongs to a job with other content.
        """
        news = _News[None](1)
        async with self._listen(news):
            while (lines := await self._lines()) is None:
                await news.next()
        return lines

    async def stream(self, *, from_offset: int) -> AsyncGenerator[TokenDelta, None]:
        """Yield the job's answers as they are made, until all are there.

        from_offset: in characters. Raises JobFailed, JobRejected, UsageError.
        """
        answer = LiveAnswer(begin=from_offset)
        news = _News[TokenMessage]()
        async with self._listen(news), self._stream.listen(*self._where, news.put_nowait):
            while True:
                # What was told before we listened, and what got lost.
                for message in await self._missed():
                    self._take(answer, message)
                if (lines := await self._lines()) is not None:
                    break
                for fresh in answer.news():
                    yield fresh
                while (heard := await news.next()) is not None and self._joins(heard):
                    self._take(answer, heard)
                    for fresh in answer.news():
                        yield fresh
        answer.settle(lines)
        for fresh in answer.news():
            yield fresh
        answer.check()

    def _joins(self, message: TokenMessage) -> bool:
        """Say whether nothing between the last message and this one is missing."""
        return message.sequence <= self._seen or message.previous == self._seen

    def _take(self, answer: LiveAnswer, message: TokenMessage) -> None:
        if message.sequence > self._seen:
            self._seen = message.sequence
            if message.writer is not None:
                answer.owner = message.writer
                if message.delta is not None:
                    answer.take(message.delta)

    @asynccontextmanager
    async def _listen(self, news: "_News[T]") -> AsyncIterator[None]:
        """Put None into `news` whenever the job's log may have grown, if there is room for it."""

        def tell(_: object = None) -> None:
            if not news.full():
                news.put_nowait(None)

        subscription = await self._connection.subscribe(results_subject(*self._where), tell)
        forget = self._connection.on_reconnect(tell)
        try:
            yield
        finally:
            forget()
            await subscription.unsubscribe()

    async def _missed(self) -> Sequence[TokenMessage]:
        """Read the stream from where we are; without the broker it is not known, and no matter."""
        with self._stream_patience:
            return await self._stream.read(*self._where, after=self._seen)
        return ()

    async def _lines(self) -> tuple[ResultLine, ...] | None:
        """Return the job's lines once all are there."""
        place, state = self._place, None
        with self._log_patience:
            state = await self._log.read(*self._where)
        if state is None:
            return None
        if place.sha256 is not None and state.sha256 not in {None, place.sha256}:
            raise JobRejected(
                f"job id {place.job} of tenant {place.tenant} was used before with other "
                "content: choose a new id for new content",
                code=CONFLICT,
            )
        if not state.complete:
            return None
        return tuple(sorted(state.lines, key=lambda line: line.fleet.item))


class _Patience:
    """Bears what a broker does that goes away and comes back; the wait is the caller's to end."""

    def __init__(self) -> None:
        self._refused_at: float | None = None

    def __enter__(self) -> None:
        """Begin a try."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        match error:
            case BrokerUnreachable():
                return True
            case BrokerRefused():
                now = time.monotonic()
                self._refused_at = now if self._refused_at is None else self._refused_at
                return now - self._refused_at <= REFUSED_S
            case _:
                self._refused_at = None
                return False


class _News(asyncio.Queue[T | None]):
    """What a waiting client hears: messages, and None when the log may have grown."""

    # News of a line overtake its storage: look again soon after them, then ever more rarely.
    _wait_s = RECHECK_S

    async def next(self) -> T | None:
        """Wait for something new; None says to look at log and stream again."""
        try:
            async with asyncio.timeout(self._wait_s):
                fresh = await self.get()
        except TimeoutError:
            self._wait_s = min(2 * self._wait_s, RECHECK_S)
            return None
        if fresh is None:
            self._wait_s = SOON_S
        return fresh
