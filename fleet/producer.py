"""A small client for producers: submit requests, read answers live, wait for results.

Nobody needs it: a job is a message that any NATS client can publish. What it adds are checks before
anything is sent, ids that make a retry harmless, and waiting that misses nothing.
"""

import hashlib
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from itertools import chain
from typing import TypeAlias

import msgspec

from fleet.blobs.store import BlobStore
from fleet.broker.batch_publish import Outgoing
from fleet.broker.connection import Connection, connect
from fleet.broker.context import find_target
from fleet.broker.headers import headers_size
from fleet.claim_check import check_in, is_large, part_of
from fleet.errors import JobRejected
from fleet.follow import Follower, Place
from fleet.job import BadItem, Item, ResultLine, Tier, TokenDelta
from fleet.publish import grouped, publish, publish_all
from fleet.subjects import identifier, job_subject, tier_of, token
from fleet.tracing import current
from fleet.wire import decode_envelope, decode_items, decode_job, job_headers

Request: TypeAlias = Mapping[str, object] | bytes


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
    """Submits one tenant's jobs and fetches their results.

    store: where requests go that are too large for a message; without one they are refused.
    """

    def __init__(
        self, connection: Connection, *, tenant: str, store: BlobStore | None = None
    ) -> None:
        self._connection = connection
        self._store = store
        self._tenant = token(tenant, what="tenant")

    async def submit(
        self,
        request: Request,
        *,
        model: str,
        tier: Tier | str = Tier.REALTIME,
        job_id: str | None = None,
        batch: str | None = None,
        deadline: float | None = None,
        traceparent: str | None = None,
    ) -> Ticket:
        """Publish one job: an OpenAI Batch line, or `{"requests": [...]}` with several.

        job_id: the same id with the same content is the same job, however often it is submitted;
        made up if none is given. deadline: seconds since the epoch. traceparent: of W3C's Trace
        Context; without it the trace counts in which the caller stands, if any.

        Raises JobRejected before anything is sent if a consumer would refuse it, BrokerRefused if
        the queue is full, and BrokerUnreachable if it may or may not be stored: submit it again
        with the same id then.
        StoreUnavailable, StoreRefused: a large request could not be uploaded, nothing was sent.
        """
        payload, tier = _encoded(request), tier_of(tier)
        if self._store is not None and is_large(payload):
            part = part_of(payload)
            _check(decode_items(part.data.splitlines(), tier=tier))
            (payload,) = await check_in(self._store, self._tenant, [part])
        ticket, message = self._prepare(
            payload, model=model, tier=tier, job_id=job_id, batch=batch, deadline=deadline,
            traceparent=traceparent,
        )  # fmt: skip
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
        return await Follower(self._connection, _place(ticket)).result()

    def stream(self, ticket: Ticket, *, from_offset: int = 0) -> AsyncGenerator[TokenDelta, None]:
        """Yield a job's answers as they are made, every character once, until all are there.

        It may pause when a node is lost, and goes on by itself when the broker comes back. What the
        live stream lacks, the result brings. Close it (`contextlib.aclosing`) if you leave early.
        from_offset: the first character that is wanted of each answer, from 0.

        Raises JobFailed with the code `answer_restarted` if an answer had to be begun again and
        comes out otherwise than what was yielded: forget that, and stream from the beginning.
        Raises UsageError for an offset behind the end, JobRejected if the id belongs to a job with
        other content.
        """
        return Follower(self._connection, _place(ticket)).stream(from_offset=from_offset)

    def follow(
        self, job: str, *, batch: str | None = None, from_offset: int = 0
    ) -> AsyncGenerator[TokenDelta, None]:
        """Join a job that was submitted elsewhere or before, as `stream` does; any job has an id.

        A job that does not exist is waited for: bound it. Raises JobRejected for what is no id.
        """
        place = Place(
            tenant=self._tenant,
            batch=identifier(batch, what="batch id") if batch is not None else None,
            job=identifier(job, what="job id"),
        )
        return Follower(self._connection, place).stream(from_offset=from_offset)

    def _prepare(
        self,
        request: Request,
        *,
        model: str,
        tier: Tier,
        job_id: str | None,
        batch: str | None,
        deadline: float | None,
        traceparent: str | None = None,
    ) -> tuple[Ticket, Outgoing]:
        """Look at a job with the consumer's eyes before it is sent."""
        payload = _encoded(request)
        subject = job_subject(tier, model, self._tenant)
        headers = job_headers(
            self._tenant, job_id or secrets.token_hex(16), batch=batch, deadline=deadline,
            traceparent=traceparent or current(),
        )  # fmt: skip
        envelope = decode_envelope(subject, headers, stream="", sequence=0)
        job = decode_job(envelope, payload, headers_bytes=headers_size(headers))
        if job.source is None:
            _check(job.items)
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
async def open_producer(
    url: str | None = None, *, tenant: str = "default"
) -> AsyncIterator[Producer]:
    """Connect and give a producer.

    url: None looks at NATS_* in the environment and at the nats CLI's contexts. Raises
    BrokerUnreachable, BrokerRefused.
    """
    async with connect(find_target(url, os.environ), name="producer") as connection:
        yield Producer(connection, tenant=tenant)


def _place(ticket: Ticket) -> Place:
    return Place(tenant=ticket.tenant, batch=ticket.batch, job=ticket.job, sha256=ticket.sha256)


def _encoded(request: Request) -> bytes:
    return request if isinstance(request, bytes) else msgspec.json.encode(request)


def _check(items: Iterable[Item | BadItem]) -> None:
    """Raise JobRejected for the first item that a consumer would refuse."""
    for item in items:
        if isinstance(item, BadItem):
            raise JobRejected(
                f"item {item.index} is refused: {item.error.message}", code=item.error.code
            )
