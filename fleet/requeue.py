"""Giving a dead letter another try: a new job with a new id, and then the letter goes.

The id of the job that was given up has its end already, and keeps it: an error in its result log.
The new id follows from the letter's number, so a second call after a lost answer publishes the same
job once more, and consumers answer that once.
"""

from collections.abc import Collection
from typing import Final

import msgspec

from fleet.broker.connection import Connection
from fleet.broker.dead import DeadLetters, Opened
from fleet.errors import JobRejected, NotFound, UsageError
from fleet.manifest import job_number
from fleet.renew import REQUEUED_FROM, renewed
from fleet.subjects import IDENTIFIER, NO_BATCH, parse_job_subject, shown
from fleet.wire import BATCH

MAX_ID: Final = 64


class Requeued(msgspec.Struct, frozen=True, kw_only=True):
    """A letter that is a job again. batch: None where it left its batch, whose item had its end."""

    letter: int
    former_job: str
    job: str
    tenant: str
    batch: str | None
    subject: str
    sequence: int


async def requeue(connection: Connection, sequence: int, *, models: Collection[str]) -> Requeued:
    """Publish the job of a dead letter again under a new id, then drop the letter.

    Its headers come along, but for the deadline, which has passed or would soon, and for those that
    command a stream. models: those that are served. Raises NotFound for a letter that is not there
    and for a model that nobody serves, UsageError for one that can be no job, BrokerRefused,
    BrokerUnreachable; the letter stays then.
    """
    letters = DeadLetters(connection)
    opened = await letters.open(sequence)
    model, tenant = _where(opened, sequence)
    if model not in models:
        raise NotFound(
            f"dead letter {sequence} is for the model {shown(model)}, which nobody serves: "
            f"run `fleet init --model {model}` first, or drop it"
        )
    batch = opened.headers.get(BATCH, "")
    keeps = IDENTIFIER.fullmatch(batch) and job_number(batch, opened.job) is None
    job = new_id(opened, sequence)
    headers = renewed(
        opened.headers,
        job=job,
        msg_id=f"requeue-{sequence}",
        batch=batch if keeps else None,
        deadline=None,
        requeued_from=f"{batch if IDENTIFIER.fullmatch(batch) else NO_BATCH}.{opened.job}",
    )
    receipt = await connection.append(opened.subject, opened.payload, headers=headers)
    await letters.drop(sequence)
    return Requeued(
        letter=sequence,
        former_job=opened.job,
        job=job,
        tenant=tenant,
        batch=batch if keeps else None,
        subject=opened.subject,
        sequence=receipt.sequence,
    )


def new_id(opened: Opened, sequence: int) -> str:
    """Name the next try of a job: `<id>-r<letter>`, of the first id however often it was tried."""
    former = opened.headers.get(REQUEUED_FROM, "").rpartition(".")[2]
    base = former if IDENTIFIER.fullmatch(former) else opened.job
    suffix = f"-r{sequence}"
    return base[: MAX_ID - len(suffix)] + suffix


def _where(opened: Opened, sequence: int) -> tuple[str, str]:
    """Read model and tenant from the job's subject; refuse what can be no job again."""
    if opened.omitted is not None:
        raise UsageError(
            f"dead letter {sequence} holds no job, which was too large to keep "
            f"({opened.omitted}): send the job again in smaller pieces, and drop the letter"
        )
    try:
        where = parse_job_subject(opened.subject)
    except JobRejected as error:
        raise UsageError(
            f"dead letter {sequence} cannot be queued again: {error}; send it on a right subject, "
            "and drop the letter"
        ) from error
    return where.model, where.tenant
