"""What the server says of jobs that it delivers no more, kept in the stream ADVISORIES."""

import logging
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Final

import msgspec

from fleet.broker.connection import Connection
from fleet.broker.stored import messages
from fleet.subjects import ADVISORIES

EXHAUSTED: Final = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>"
log = logging.getLogger(__name__)


class Exhausted(msgspec.Struct, frozen=True, kw_only=True):
    """A message that reached its durable's cap of deliveries. timestamp: RFC 3339, the server's."""

    stream: str
    consumer: str
    stream_seq: int
    deliveries: int
    timestamp: datetime


async def exhausted(connection: Connection, *, after: int) -> AsyncGenerator[tuple[int, Exhausted]]:
    """Yield the advisories behind `after` with their place in the stream, then end."""
    async for stored in messages(connection, ADVISORIES, EXHAUSTED, after=after):
        try:
            said = msgspec.json.decode(stored.payload, type=Exhausted)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            # Anyone in the account may have written it.
            log.warning("no advisory", extra={"sequence": stored.sequence, "error": str(error)})
        else:
            if said.timestamp.tzinfo is not None:
                yield stored.sequence, said
