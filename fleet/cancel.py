"""Cancelling a job: a mark that consumers hear of; where none lives, the sweep acts on it."""

import time
from typing import Final, Literal, TypeAlias

import msgspec

from fleet.bounds import Count, Time
from fleet.broker.claims import Claims
from fleet.broker.connection import Connection
from fleet.broker.kv import Bucket
from fleet.broker.log_state import LogState, fold
from fleet.broker.queued import Queued, find
from fleet.broker.stored import messages
from fleet.errors import LeaseLost, NotFound
from fleet.subjects import (
    CANCELS,
    NO_BATCH,
    RESULTS,
    cancel_key,
    identifier,
    results_subject,
    token,
)
from fleet.wire import BATCH

State: TypeAlias = Literal["queued", "running", "finished", "cancelled"]
_ANY: Final = "*"


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A job that its owner wants no more. stream, sequence: where it waits or runs. at: when."""

    stream: str
    sequence: Count
    at: Time


class Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    """What a cancellation met.

    state: how the job stood. `queued` and `running` end now, `finished` stays as it is, and
    `cancelled` is what an earlier call has done. items_done: items that have their line, and keep
    it; items: None while nobody has counted them.
    """

    tenant: str
    job: str
    batch: str | None
    state: State
    items_done: int
    items: int | None


async def cancel(
    connection: Connection, *, tenant: str, job: str, batch: str | None = None
) -> Cancelled:
    """Ask for the end of a job, wherever it is; safe to repeat.

    Items that are finished keep their results, the others get a `cancelled` line. batch: narrows
    the search, nothing else. The tenant's queues are read to find the job. Raises NotFound for a
    job that is neither queued nor known to the result log, JobRejected for names that are none.
    """
    token(tenant, what="tenant")
    identifier(job, what="job id")
    logged = await _read(connection, tenant, batch, job)
    if logged.complete:
        return _ended(tenant, job, batch, logged)
    found = await find(connection, tenant, job)
    if found is None:
        # It may have ended while we looked for it.
        logged = await _read(connection, tenant, batch, job)
        if not logged.complete:
            raise NotFound(
                f"tenant {tenant} has no job {job} in its queues and no result of one: check the "
                "id, --tenant and --batch; `fleet dead ls` lists jobs that were given up"
            )
        return _ended(tenant, job, batch, logged)
    is_new = await _mark(connection, tenant, job, found)
    is_begun = logged.sequence or await Claims(connection).exists(tenant, job)
    return Cancelled(
        tenant=tenant,
        job=job,
        batch=found.headers.get(BATCH),
        state=("running" if is_begun else "queued") if is_new else "cancelled",
        items_done=len(logged.lines),
        items=logged.items,
    )


async def _read(connection: Connection, tenant: str, batch: str | None, job: str) -> LogState:
    """Read a job's log, in whatever batch it is unless one is named."""
    subject = results_subject(tenant, batch or _ANY, job)
    return fold(job, [one async for one in messages(connection, RESULTS, subject)])


async def _mark(connection: Connection, tenant: str, job: str, found: Queued) -> bool:
    """Write the mark; say whether it is new."""
    mark = Mark(stream=found.stream, sequence=found.sequence, at=time.time())
    try:
        await Bucket(connection, CANCELS, Mark).put(cancel_key(tenant, job), mark, revision=0)
    except LeaseLost:
        return False
    return True


def _ended(tenant: str, job: str, batch: str | None, logged: LogState) -> Cancelled:
    codes = {line.error.code for line in logged.lines if line.error is not None}
    return Cancelled(
        tenant=tenant,
        job=job,
        batch=None if batch == NO_BATCH else batch,
        state="cancelled" if "cancelled" in codes else "finished",
        items_done=len(logged.lines),
        items=logged.items,
    )
