"""Tenants' reads of several messages: looked at, and done for them.

The server answers such a read with any message of the stream, so it is the fleet that asks, and
hands on what came. A tenant's client notices no difference.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final

import msgspec

from fleet.broker.connection import Connection, Message
from fleet.broker.stored import Stored, read_page
from fleet.errors import BrokerRefused, BrokerUnreachable, FleetError, JobRejected, UsageError
from fleet.subjects import plain
from fleet.tenancy.grants import READS
from fleet.tenancy.reading import narrowed

# Of several who serve, each question goes to one.
QUEUE: Final = "reads"
# More at once than these are not heard, and asked again.
WAITING: Final = 1024
AT_ONCE: Final = 16
_END_OF_PAGE: Final = "204"
_FORBIDDEN, _FAILED = 403, 500
# What a page needs beside a message's own headers; a foreign one may be none that can be sent.
_OF_SERVER: Final = ("Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp",
                     "Nats-Num-Pending", "Nats-Last-Sequence")  # fmt: skip

log = logging.getLogger(__name__)


async def serve_reads(connection: Connection) -> None:
    """Read for tenants what is theirs; never ends."""
    waiting: asyncio.Queue[Message] = asyncio.Queue(WAITING)

    def receive(message: Message) -> None:
        with suppress(asyncio.QueueFull):
            waiting.put_nowait(message)

    async def reader() -> None:
        while True:
            await _answer(connection, await waiting.get())

    subscription = await connection.subscribe(f"{READS}.*.*", receive, queue=QUEUE)
    try:
        async with asyncio.TaskGroup() as readers:
            for _ in range(AT_ONCE):
                readers.create_task(reader())
    finally:
        with suppress(BrokerUnreachable):
            await subscription.unsubscribe()


async def _answer(connection: Connection, message: Message) -> None:
    _, stream, tenant = message.subject.split(".")
    try:
        page, left = await read_page(connection, stream, narrowed(stream, tenant, message.payload))
        for stored in page:
            await _hand_on(connection, message.reply, stored)
        last = page[-1].sequence if page else 0
        end = {"Nats-Num-Pending": str(left), "Nats-Last-Sequence": str(last)}
        await connection.publish(message.reply, headers=end, status=_END_OF_PAGE)
    except (JobRejected, BrokerRefused) as error:
        await _refuse(connection, message, error, _FORBIDDEN)
    except (BrokerUnreachable, UsageError) as error:
        await _refuse(connection, message, error, _FAILED)


async def _hand_on(connection: Connection, to: str, stored: Stored) -> None:
    try:
        await connection.publish(to, stored.payload, headers=stored.headers)
    except UsageError:
        headers: dict[str, str] = {
            name: stored.headers[name] for name in _OF_SERVER if name in stored.headers
        }
        await connection.publish(to, stored.payload, headers=headers)


async def _refuse(connection: Connection, message: Message, error: FleetError, code: int) -> None:
    cause = plain(str(error))
    log.warning("a read was refused", extra={"subject": plain(message.subject), "cause": cause})
    answer = {"error": {"code": code, "description": cause}}
    with suppress(BrokerUnreachable, UsageError):  # who asked asks again
        await connection.publish(message.reply, msgspec.json.encode(answer))
