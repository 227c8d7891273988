"""Guarded appends: write only if nobody else wrote since, and know one's own write again."""

from collections.abc import Mapping
from typing import Final

from fleet.broker.connection import ApiError, Connection
from fleet.broker.stored import Stored, last_message
from fleet.errors import BrokerUnreachable, LeaseLost
from fleet.wire import WRITER

EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
# "wrong last sequence"; the second one comes from clusters, while another write is in flight.
WRONG_LAST: Final = frozenset({10071, 10164})
TRIES: Final = 3


async def append_after(
    connection: Connection,
    stream: str,
    subject: str,
    payload: bytes,
    *,
    headers: Mapping[str, str],
    last: int,
) -> int:
    """Append if `last` is still the subject's last sequence (0: it has none); return the new one.

    A refusal may mean that our own write got through and its answer did not, so the stored message
    is compared first. Raises LeaseLost if another one wrote, BrokerUnreachable if it stays unclear.
    """
    guarded = {**headers, EXPECTED: str(last)}
    for attempt in range(TRIES):
        try:
            return (await connection.append(subject, payload, headers=guarded)).sequence
        except ApiError as error:
            if error.err_code not in WRONG_LAST:
                raise
            cause: ApiError | BrokerUnreachable = error
        except BrokerUnreachable as error:
            cause = error
        stored = await last_message(connection, stream, subject)
        if stored is not None and stored.sequence > last and is_same(stored, payload, headers):
            return stored.sequence
        unchanged = last == (stored.sequence if stored else 0)
        if unchanged and attempt + 1 < TRIES:
            continue
        if unchanged:
            # A replica that we read from may lag behind, or a write of another be under way.
            raise BrokerUnreachable(
                f"writing to {subject} behind sequence {last} was tried {TRIES} times, and whether "
                f"another process wrote is not to be seen ({cause}): try again"
            ) from cause
        raise LeaseLost(
            f"writing to {subject} was refused: it moved on from sequence {last}, so another "
            "process has it now; drop the work"
        ) from cause
    raise AssertionError("unreachable: the last try returns or raises")


def is_same(stored: Stored, payload: bytes, headers: Mapping[str, str]) -> bool:
    """Say whether a stored message is this very write: same bytes, same writer's token if any."""
    return stored.payload == payload and stored.headers.get(WRITER) == headers.get(WRITER)
