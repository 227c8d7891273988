"""Whether a fleet may be hurt on purpose, and that only one does it at a time.

Both are keys of the bucket `policy` that the server itself lets expire.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec

from fleet.broker.connection import Connection
from fleet.broker.kv import Bucket
from fleet.errors import BrokerUnreachable, LeaseLost, UsageError
from fleet.subjects import POLICY, plain

ALLOWED: Final = "drills_allowed"
RUNNING: Final = "drill_running"


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Who said so: a name for people, and a token that no other writer has."""

    by: str
    token: str


async def allow(connection: Connection, mark: Mark, *, for_s: float | None) -> None:
    """Mark the fleet as one that may be drilled; for_s: for so long, None until it is forbidden."""
    await _bucket(connection).put(ALLOWED, mark, ttl_s=for_s)


async def forbid(connection: Connection) -> None:
    """Take the mark away."""
    await _bucket(connection).forget(ALLOWED)


async def check_allowed(connection: Connection) -> None:
    """Raise UsageError for a fleet that is not marked; BrokerUnreachable, BrokerRefused."""
    if not await is_allowed(connection):
        raise UsageError(
            "this fleet is not marked as one that may be drilled: `fleet drill allow` marks it"
        )


async def is_allowed(connection: Connection) -> bool:
    """Say whether the fleet is marked. Raises BrokerUnreachable, BrokerRefused."""
    return await _bucket(connection).exists(ALLOWED)


@asynccontextmanager
async def alone(connection: Connection, mark: Mark, *, for_s: float) -> AsyncIterator[None]:
    """Keep other drills away while the body runs, and for_s seconds at most if we die in it.

    Raises UsageError while another one runs.
    """
    bucket = _bucket(connection)
    try:
        revision = await bucket.put(RUNNING, mark, revision=0, ttl_s=for_s)
    except LeaseLost as error:
        other = await bucket.get(RUNNING)
        raise UsageError(
            f"another drill runs, of {plain(other.value.by) if other else 'somebody'}: wait for "
            "its end, so that both can tell what they did"
        ) from error
    try:
        yield
    finally:
        with suppress(LeaseLost, BrokerUnreachable):  # it expires by itself
            await bucket.forget(RUNNING, revision=revision)


def _bucket(connection: Connection) -> Bucket[Mark]:
    return Bucket(connection, POLICY, Mark)
