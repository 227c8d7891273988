"""What a stream holds, counted by the server: nothing that it stores is read for it."""

from datetime import datetime

import msgspec

from fleet.broker.answers import read_part
from fleet.broker.connection import Connection


class StreamState(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream holds. subjects: messages a subject, None where they were not asked for.

    first_ts: when the oldest message was stored; of no meaning in an empty stream. num_deleted:
    holes between the first sequence and the last.
    """

    last_seq: int
    first_seq: int = 0
    messages: int = 0
    num_deleted: int = 0
    first_ts: datetime | None = None
    subjects: dict[str, int] | None = None


async def stream_state(
    connection: Connection, stream: str, *, subjects: str | None = None
) -> StreamState:
    """Ask for it, and for the counts of all subjects that a pattern names.

    Raises ApiError where there is no such stream, BrokerRefused, BrokerUnreachable.
    """
    name = f"STREAM.INFO.{stream}"
    info = await connection.api(name, None if subjects is None else {"subjects_filter": subjects})
    return read_part(name, info.get("state"), StreamState)
