"""The sweep: no accepted job lies where nobody will ever look.

A job for a model that no durable serves, or on a subject that is no job subject at all, is stored
by its tier's stream and never delivered. The sweep finds such subjects and refuses what lies there.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Never

import msgspec

from fleet.broker.connection import ApiError, Connection
from fleet.broker.dead import DeadLetters
from fleet.broker.provision import served_models
from fleet.broker.results import ResultLog
from fleet.broker.stored import Stored, messages
from fleet.errors import BrokerRefused, BrokerUnreachable, JobRejected
from fleet.events import Emit
from fleet.job import Tier
from fleet.refusal import Refusals
from fleet.subjects import job_stream, parse_job_subject, shown

# A model may be added a moment after its first job; give `fleet init` that long.
PATIENCE_S = 2.0
_NOT_FOUND = 10037
_NO_TEXT = "\ufffd"
log = logging.getLogger(__name__)


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


async def sweep_for_ever(
    connection: Connection,
    *,
    every_s: float,
    emit: Emit = lambda _: None,
    swept: Callable[[list[JobRejected]], None] = lambda _: None,
) -> Never:
    """Sweep each `every_s` seconds; `swept` hears what was refused. Only cancelling ends it.

    A broker that does not answer or refuses is asked again.
    """
    while True:
        try:
            swept(await sweep(connection, emit=emit))
        except (BrokerUnreachable, BrokerRefused) as error:
            log.warning("the sweep failed", extra={"error": str(error)})
        await asyncio.sleep(every_s)


async def _strays(
    connection: Connection, tier: Tier, models: tuple[str, ...]
) -> AsyncIterator[tuple[Stray, JobRejected]]:
    stream = job_stream(tier)
    subjects = await _subjects(connection, stream)
    patterns = {_pattern(subject) for subject in subjects if unserved(subject, models)}
    for pattern in sorted(patterns):
        async for stored in messages(connection, stream, pattern):
            cause = unserved(stored.subject, models)
            if cause is not None and time.time() - stored.written_at > PATIENCE_S:
                yield _stray(stream, stored), cause


def _pattern(subject: str) -> str:
    """Return a query that finds a stored subject, and perhaps others.

    The subject itself does, a literal wildcard too; but bytes that are no text do not come back as
    they were, so from there on it is anything.
    """
    known, unknown, _ = subject.partition(_NO_TEXT)
    return f"{known.rpartition('.')[0]}.>" if unknown else subject


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
