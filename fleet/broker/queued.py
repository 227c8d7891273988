"""Jobs in their queues, looked at from outside: nobody's delivery is touched by it."""

from collections.abc import AsyncGenerator, Mapping
from typing import Final

import msgspec

from fleet.broker.connection import ApiError, Connection
from fleet.broker.stored import Stored, message_at, messages
from fleet.broker.stream_state import StreamState, stream_state
from fleet.job import Tier
from fleet.subjects import IDENTIFIER, job_stream
from fleet.wire import JOB_ID, MSG_ID, fallback_id

_NOT_FOUND: Final = frozenset({10037, 10043, 10057})


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """A stored job as it came. written_at: seconds since the epoch, by the server's clock."""

    subject: str
    headers: dict[str, str]
    payload: bytes
    stream: str
    sequence: int
    written_at: float

    @property
    def job(self) -> str:
        """Its id, as far as that can be read."""
        return job_of(self.headers, self.stream, self.sequence)


def job_of(headers: Mapping[str, str], stream: str, sequence: int) -> str:
    """Read a job's id from its headers; where there is none, it is its place in the stream."""
    given = headers.get(JOB_ID) or headers.get(MSG_ID) or ""
    return given if IDENTIFIER.fullmatch(given) else fallback_id(stream, sequence)


async def state_of(connection: Connection, tier: Tier) -> StreamState:
    """Read what a tier's queue holds. Raises BrokerRefused, BrokerUnreachable."""
    return await stream_state(connection, job_stream(tier), subjects=">")


async def queued(
    connection: Connection, stream: str, subject: str, *, after: int = 0
) -> AsyncGenerator[Queued]:
    """Yield the jobs on a subject (wildcards allowed) behind sequence `after`, then end."""
    async for stored in messages(connection, stream, subject, after=after):
        yield _queued(stream, stored)


async def queued_at(connection: Connection, stream: str, sequence: int) -> Queued | None:
    """Read the job at a place of a stream; None if it is there no more."""
    stored = await message_at(connection, stream, sequence)
    return None if stored is None else _queued(stream, stored)


async def find(connection: Connection, tenant: str, job: str) -> Queued | None:
    """Look for a job of a tenant in all queues; reads what the tenant has there."""
    for tier in Tier:
        stream = job_stream(tier)
        async for one in queued(connection, stream, f"jobs.{tier}.*.{tenant}"):
            if one.job == job:
                return one
    return None


async def remove(connection: Connection, one: Queued) -> None:
    """Take a job off its queue, if it is there. Raises BrokerRefused, BrokerUnreachable."""
    await remove_at(connection, one.stream, one.sequence)


async def remove_at(connection: Connection, stream: str, sequence: int) -> bool:
    """Delete a message; say whether it was there."""
    try:
        await connection.api(f"STREAM.MSG.DELETE.{stream}", {"seq": sequence})
    except ApiError as error:
        if error.err_code not in _NOT_FOUND and "no message found" not in str(error):
            raise
        return False
    return True


def _queued(stream: str, stored: Stored) -> Queued:
    return Queued(
        subject=stored.subject,
        headers=stored.headers,
        payload=stored.payload,
        stream=stream,
        sequence=stored.sequence,
        written_at=stored.written_at,
    )
