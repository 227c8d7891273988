"""One job's life: told by its claim, its result log, its dead letter, and EVENTS."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, TypeAlias

from dashboard.snapshot import EventFact, Step, Story
from dashboard.steps import steps_of
from fleet.broker.claims import Claims
from fleet.broker.connection import Connection
from fleet.broker.dead import DeadLetter, DeadLetters
from fleet.broker.log_state import LogState, fold
from fleet.broker.stored import messages
from fleet.claim import Claim
from fleet.errors import NotFound
from fleet.subjects import RESULTS, identifier, results_subject, token

# Why a job waits, as `fleet why` says it. Raises NotFound for one that is in no queue.
Why: TypeAlias = Callable[[Connection, str, str], Awaitable[Sequence[str]]]
_MOST_LETTERS: Final = 1_000
_MOST_ERRORS: Final = 20


async def story(
    connection: Connection,
    *,
    tenant: str,
    job: str,
    batch: str | None,
    events: Sequence[EventFact],
    why: Why,
) -> Story:
    """Read all that is known of a job. events: those that were heard, oldest first.

    Raises NotFound when there is no trace of it, JobRejected for names that are none,
    BrokerRefused, BrokerUnreachable.
    """
    token(tenant, what="tenant")
    identifier(job, what="job id")
    subject = results_subject(tenant, batch or "*", job)
    log = fold(job, [one async for one in messages(connection, RESULTS, subject)])
    held = await Claims(connection).get(tenant, job)
    reasons: tuple[str, ...] = ()
    with suppress(NotFound):
        reasons = tuple(await why(connection, tenant, job))
    # A tenant's dead letters are many to read; one that is queued has none.
    has_ended = not reasons and not log.complete
    letter = await _letter(connection, tenant, job) if has_ended else None
    steps = [*_past(held.claim if held else None), *steps_of(events, tenant, job)]
    steps += _lines(log)
    if letter is not None:
        steps.append(Step(at=letter.buried_at, what=f"given up ({letter.code})", bad=True))
    if not (reasons or steps or log.lines):
        raise NotFound(f"there is no trace of job {job!a} of {tenant!a}: it was never accepted")
    steps.sort(key=lambda step: (step.at is None, step.at or 0.0))
    return Story(
        tenant=tenant,
        job=job,
        batch=batch,
        why=reasons or (_ended(log, letter),),
        items=log.items,
        items_done=len(log.lines),
        steps=tuple(steps),
        errors=tuple(_errors(log, letter)),
    )


async def _letter(connection: Connection, tenant: str, job: str) -> DeadLetter | None:
    letters = await DeadLetters(connection).list(limit=_MOST_LETTERS, tenant=tenant)
    return next((one for one in reversed(letters) if one.job == job), None)


def _past(claim: Claim | None) -> list[Step]:
    if claim is None:
        return []
    return [
        Step(
            at=past.at, what=past.how.replace("_", " "), node=past.node, bad=past.how != "released"
        )
        for past in claim.history
    ]


def _lines(log: LogState) -> list[Step]:
    """Say once for each node how many items it finished."""
    counts: dict[str, int] = {}
    for line in log.lines:
        counts[line.fleet.node or ""] = counts.get(line.fleet.node or "", 0) + 1
    return [
        Step(at=None, what=f"{n} items have their line", node=node) for node, n in counts.items()
    ]


def _errors(log: LogState, letter: DeadLetter | None) -> list[str]:
    found = [
        f"item {line.fleet.item}: {line.error.code}: {line.error.message}"
        for line in log.lines
        if line.error is not None
    ]
    if letter is not None:
        found.insert(0, f"{letter.code}: {letter.reason}")
    more = [f"{len(found) - _MOST_ERRORS} more"] if len(found) > _MOST_ERRORS else []
    return found[:_MOST_ERRORS] + more


def _ended(log: LogState, letter: DeadLetter | None) -> str:
    if letter is not None:
        when = datetime.fromtimestamp(letter.buried_at).astimezone()
        return f"it was given up at {when.isoformat(timespec='seconds')}"
    return "it has ended: its answer is complete" if log.complete else "it is in no queue any more"
