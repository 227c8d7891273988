"""The sweep: no accepted job lies where nobody will ever look.

A job for a model that no durable serves, or on a subject that is no job subject at all, is stored
by its tier's stream and never delivered. The sweep finds such subjects and refuses what lies there.
"""

import time
from collections.abc import AsyncIterator

import msgspec

from fleet.broker.connection import ApiError, Connection
from fleet.broker.dead import DeadLetters
from fleet.broker.provision import served_models
from fleet.broker.results import ResultLog
from fleet.broker.stored import Stored, messages
from fleet.errors import JobRejected
from fleet.events import Emit
from fleet.job import Tier
from fleet.refusal import Refusals
from fleet.subjects import job_stream, parse_job_subject, shown

# A model may be added a moment after its first job; give `fleet init` that long.
PATIENCE_S = 2.0
_NOT_FOUND = 10037


class Stray(msgspec.Struct, frozen=True, kw_only=True):
    """A stored job that no durable delivers."""

    subject: str
    headers: dict[str, str]
    payload: bytes
    stream: str
    sequence: int
    written_at: float


def unserved(subject: str, models: tuple[str, ...]) -> JobRejected | None:
    """Say why nobody is served by this subject, or None if somebody is."""
    try:
        where = parse_job_subject(subject)
    except JobRejected as cause:
        return cause
    if where.model in models:
        return None
    known = ", ".join(models) or "none"
    return JobRejected(
        f"no consumer serves the model {shown(where.model)}; served: {known}. Correct the subject, "
        f"or create its queues with `fleet init --model {where.model}` and send it again",
        code="unknown_model",
    )


async def sweep(connection: Connection, *, emit: Emit = lambda _: None) -> list[JobRejected]:
    """Refuse every stray job; return the causes. Two sweeps at once do no harm.

    Raises BrokerRefused, BrokerUnreachable.
    """
    refusals = Refusals(
        results=ResultLog(connection), dead=DeadLetters(connection), emit=emit, node="sweep"
    )
    models = await served_models(connection)
    causes: list[JobRejected] = []
    for tier in Tier:
        async for stray, cause in _strays(connection, tier, models):
            await refusals.refuse(stray, cause)
            await _remove(connection, stray)
            causes.append(cause)
    return causes


async def _strays(
    connection: Connection, tier: Tier, models: tuple[str, ...]
) -> AsyncIterator[tuple[Stray, JobRejected]]:
    stream = job_stream(tier)
    for subject in await _subjects(connection, stream):
        cause = unserved(subject, models)
        if cause is None:
            continue
        # A literal wildcard reads as a pattern here, so the subject is compared once more.
        async for stored in messages(connection, stream, subject):
            if stored.subject == subject and time.time() - stored.written_at > PATIENCE_S:
                yield _stray(stream, stored), cause


async def _subjects(connection: Connection, stream: str) -> list[str]:
    """List the subjects that a stream holds messages of: a few a model and tenant."""
    info = await connection.api(f"STREAM.INFO.{stream}", {"subjects_filter": ">"})
    return list(info["state"].get("subjects") or {})


def _stray(stream: str, stored: Stored) -> Stray:
    return Stray(
        subject=stored.subject,
        headers=stored.headers,
        payload=stored.payload,
        stream=stream,
        sequence=stored.sequence,
        written_at=stored.written_at,
    )


async def _remove(connection: Connection, stray: Stray) -> None:
    try:
        await connection.api(f"STREAM.MSG.DELETE.{stray.stream}", {"seq": stray.sequence})
    except ApiError as error:
        if error.err_code != _NOT_FOUND and "no message found" not in str(error):
            raise
