"""A small client for producers: submit requests, read answers live, wait for results.

Nobody needs it: a job is a message that any NATS client can publish. What it adds are checks before
anything is sent, ids that make a retry harmless, and waiting that misses nothing.
"""

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import Final, TypeAlias, TypeVar

import msgspec

from fleet.broker.batch_publish import Outgoing
from fleet.broker.connection import Connection, connect
from fleet.broker.context import find_target
from fleet.broker.headers import headers_size
from fleet.broker.results import ResultLog
from fleet.broker.tokens import TokenStream
from fleet.errors import BrokerUnreachable, JobRejected
from fleet.job import BadItem, ResultLine, Tier, TokenDelta
from fleet.live_answer import LiveAnswer
from fleet.publish import grouped, publish, publish_all
from fleet.subjects import job_subject, results_subject, token
from fleet.wire import decode_envelope, decode_job, job_headers

Request: TypeAlias = Mapping[str, object] | bytes

# News come by subscription; this is for the one that got lost.
RECHECK_S: Final = 2.0
SOON_S: Final = 0.01

T = TypeVar("T")


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask for a job by. sequence: its place in its stream. sha256: of its body."""

    tenant: str
    model: str
    tier: Tier
    job: str
    batch: str | None = None
    sequence: int = 0
    sha256: str


class Producer:
    """Submits one tenant's jobs and fetches their results."""

    def __init__(self, connection: Connection, *, tenant: str) -> None:
        self._connection = connection
        self._tenant = token(tenant, what="tenant")
        self._log = ResultLog(connection)
        self._tokens = TokenStream(connection)

    async def submit(
        self,
        request: Request,
        *,
        model: str,
        tier: Tier | str = Tier.REALTIME,
        job_id: str | None = None,
        batch: str | None = None,
        deadline: float | None = None,
    ) -> Ticket:
        """Publish one job: an OpenAI Batch line, or `{"requests": [...]}` with several.

        job_id: the same id with the same content is the same job, however often it is submitted;
        made up if none is given. deadline: seconds since the epoch. Raises JobRejected before
        anything is sent if a consumer would refuse it, BrokerRefused if the queue is full, and
        BrokerUnreachable if it may or may not be stored: submit it again with the same id then.
        """
        ticket, message = self._prepare(
            request, model=model, tier=Tier(tier), job_id=job_id, batch=batch, deadline=deadline
        )
        receipt = await publish(self._connection, [message])
        return msgspec.structs.replace(ticket, sequence=receipt.sequence)

    async def submit_many(
        self,
        requests: Iterable[Request],
        *,
        model: str,
        batch: str | None = None,
        deadline: float | None = None,
    ) -> list[Ticket]:
        """Publish many jobs of the tier `batch`, in order, many at a stroke; otherwise as `submit`.

        All are checked before the first is sent. If it raises, those that were published stay.
        """
        prepared = [
            self._prepare(
                each, model=model, tier=Tier.BATCH, job_id=None, batch=batch, deadline=deadline
            )
            for each in requests
        ]
        groups = list(grouped(message for _, message in prepared))
        receipts = await publish_all(self._connection, groups)
        sequences = chain.from_iterable(
            range(receipt.sequence - len(group) + 1, receipt.sequence + 1)
            for group, receipt in zip(groups, receipts, strict=True)
        )
        return [
            msgspec.structs.replace(ticket, sequence=sequence)
            for (ticket, _), sequence in zip(prepared, sequences, strict=True)
        ]

    async def result(self, ticket: Ticket) -> tuple[ResultLine, ...]:
        """Wait for a job's lines, good and bad ones, in the order of its items.

        There is no bound: wrap it in `asyncio.timeout`. Raises JobRejected if the id belongs to a
        job with other content.
        """
        news = _News[None](1)
        async with self._listen(ticket, news):
            while (lines := await self._lines(ticket)) is None:
                await news.next()
        return lines

    async def stream(self, ticket: Ticket) -> AsyncGenerator[TokenDelta, None]:
        """Yield a job's answers as they are made, every character once, until all are there.

        It may pause when a node is lost. What the live stream lacks, the result brings. Close it
        (`contextlib.aclosing`) if you leave early. Raises JobFailed at the end if an answer had to
        be started again and came out otherwise: then `result` is right.
        """
        answer = LiveAnswer()
        news = _News[TokenDelta]()
        async with (
            self._listen(ticket, news),
            self._tokens.listen(ticket.tenant, ticket.batch, ticket.job, news.put_nowait),
        ):
            is_behind = True
            while True:
                # Also what was told before we listened.
                for told in await self._told(ticket) if is_behind else ():
                    if fresh := answer.feed(told):
                        yield fresh
                if (lines := await self._lines(ticket)) is not None:
                    break
                is_behind = False
                while not is_behind and (delta := await news.next()) is not None:
                    if fresh := answer.feed(delta):
                        yield fresh
                    is_behind = answer.misses(delta)
        for fresh in answer.rest(lines):
            yield fresh

    def _prepare(
        self,
        request: Request,
        *,
        model: str,
        tier: Tier,
        job_id: str | None,
        batch: str | None,
        deadline: float | None,
    ) -> tuple[Ticket, Outgoing]:
        """Look at a job with the consumer's eyes before it is sent."""
        payload = request if isinstance(request, bytes) else msgspec.json.encode(request)
        subject = job_subject(tier, model, self._tenant)
        headers = job_headers(
            self._tenant, job_id or secrets.token_hex(16), batch=batch, deadline=deadline
        )
        envelope = decode_envelope(subject, headers, stream="", sequence=0)
        job = decode_job(envelope, payload, headers_bytes=headers_size(headers))
        for item in job.items:
            if isinstance(item, BadItem):
                raise JobRejected(
                    f"item {item.index} is refused: {item.error.message}", code=item.error.code
                )
        ticket = Ticket(
            tenant=self._tenant,
            model=model,
            tier=tier,
            job=envelope.id,
            batch=batch,
            sha256=hashlib.sha256(payload).hexdigest(),
        )
        return ticket, (subject, payload, headers)

    @asynccontextmanager
    async def _listen(self, ticket: Ticket, news: "_News[T]") -> AsyncIterator[None]:
        """Put None into `news` whenever the job's log may have grown, if there is room for it."""

        def tell(_: object = None) -> None:
            if not news.full():
                news.put_nowait(None)

        subject = results_subject(ticket.tenant, ticket.batch, ticket.job)
        subscription = await self._connection.subscribe(subject, tell)
        forget = self._connection.on_reconnect(tell)
        try:
            yield
        finally:
            forget()
            await subscription.unsubscribe()

    async def _told(self, ticket: Ticket) -> Sequence[TokenDelta]:
        """Read the live stream so far; without the broker it is not known, and no reason to end."""
        try:
            return await self._tokens.read(ticket.tenant, ticket.batch, ticket.job)
        except BrokerUnreachable:
            return ()

    async def _lines(self, ticket: Ticket) -> tuple[ResultLine, ...] | None:
        """Return a job's lines once all are there."""
        try:
            state = await self._log.read(ticket.tenant, ticket.batch, ticket.job)
        except BrokerUnreachable:
            # The connection comes back by itself, and the wait is the caller's to end.
            return None
        if state.sha256 is not None and state.sha256 != ticket.sha256:
            raise JobRejected(
                f"job id {ticket.job} of tenant {ticket.tenant} was used before with other "
                "content: choose a new id for new content",
                code="id_conflict",
            )
        if not state.complete:
            return None
        return tuple(sorted(state.lines, key=lambda line: line.fleet.item))


@asynccontextmanager
async def open_producer(
    url: str | None = None, *, tenant: str = "default"
) -> AsyncIterator[Producer]:
    """Connect and give a producer.

    url: None looks at NATS_* in the environment and at the nats CLI's contexts. Raises
    BrokerUnreachable, BrokerRefused.
    """
    async with connect(find_target(url, os.environ), name="producer") as connection:
        yield Producer(connection, tenant=tenant)


class _News(asyncio.Queue[T | None]):
    """What a waiting client hears: deltas, and None when the log may have grown."""

    # News of a line overtake its storage: look again soon after them, then ever more rarely.
    _wait_s = RECHECK_S

    async def next(self) -> T | None:
        """Wait for something new; None says to look at the log again."""
        try:
            async with asyncio.timeout(self._wait_s):
                fresh = await self.get()
        except TimeoutError:
            self._wait_s = min(2 * self._wait_s, RECHECK_S)
            return None
        if fresh is None:
            self._wait_s = SOON_S
        return fresh
