"""Events to rows: what happened, to whom, and how bad that is. Pure."""

from typing import Final, Literal, TypeAlias, assert_never

import msgspec

from dashboard.memo import once
from dashboard.snapshot import EventFact, FleetSnapshot
from fleet.events import (
    AnyEvent,
    EngineLost,
    JobDead,
    JobLost,
    JobReleased,
    JobRetried,
    JobTakenOver,
    NodeDraining,
    NodeGone,
    NodeHinted,
    NodeLaunched,
    NodeMetered,
    NodeReady,
    NodeResumed,
    NodeStarted,
    NodeStopped,
    OperatorActed,
    PoolActed,
    PoolDecided,
    UsageRecorded,
)

Grade: TypeAlias = Literal["info", "warning", "bad"]
# Told by the second by every node: figures for the ledger, and no news for people.
ROUTINE: Final = (NodeMetered, UsageRecorded)
OF_JOBS: Final = (JobTakenOver, JobReleased, JobRetried, JobLost, JobDead)


class EventRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event. at: seconds since the epoch; text: what happened, with its numbers.

    job: tenant and id of the one that it happened to, None where it is about none.
    """

    key: str
    at: float
    age_s: float
    kind: str
    node: str
    text: str
    grade: Grade = "info"
    job: tuple[str, str] | None = None


@once
def event_rows(snapshot: FleetSnapshot) -> list[EventRow]:
    """Make the rows, newest first, without the ones that say only that all goes on."""
    return [_row(fact, snapshot.at) for fact in reversed(snapshot.events)]


def _row(fact: EventFact, now: float) -> EventRow:
    event = fact.event
    grade, text = told(event)
    return EventRow(
        key=str(fact.sequence),
        at=event.at,
        age_s=max(0.0, now - event.at),
        kind=str(type(event).__struct_config__.tag),
        node=event.node,
        text=text,
        grade=grade,
        job=(event.tenant, event.job) if isinstance(event, OF_JOBS) else None,
    )


def told(event: AnyEvent) -> tuple[Grade, str]:
    """Say what happened, and how bad that is."""
    match event:
        case JobTakenOver() | JobReleased() | JobRetried() | JobLost() | JobDead():
            return _of_job(event)
        case PoolDecided() | PoolActed() | OperatorActed():
            return _of_people(event)
        case NodeLaunched() | NodeStarted() | NodeReady() | NodeMetered() | UsageRecorded():
            return "info", _of_work(event)
        case _:
            return _of_end(event)


def _of_work(event: NodeLaunched | NodeStarted | NodeReady | NodeMetered | UsageRecorded) -> str:
    match event:
        case NodeLaunched():
            return f"{event.capacity_type} machine in {event.zone or '-'} for {event.model}"
        case NodeStarted():
            return f"{event.capacity_type} in {event.zone or '-'} loads {event.model}"
        case NodeReady():
            return f"ready after {event.load_s:.1f} s"
        case NodeMetered():
            return f"{event.state}, {event.items} items, busy {event.busy_s:.0f} s"
        case UsageRecorded():
            return f"{event.items} items of {event.tenant}, {event.failed_items} failed"
    assert_never(event)


def _of_end(
    event: NodeDraining | NodeHinted | NodeResumed | EngineLost | NodeStopped | NodeGone,
) -> tuple[Grade, str]:
    match event:
        case NodeDraining():
            left = "no deadline" if event.left_s is None else f"{event.left_s:.0f} s left"
            return "warning", (
                f"drains ({event.cause}, {left}): {event.items_to_finish} items to finish, "
                f"{event.items_to_save} to save"
            )
        case NodeHinted():
            return "warning", f"may go soon, says {event.source}: takes no more batch jobs"
        case NodeResumed():
            return "info", f"works on, says {event.source}"
        case EngineLost():
            then = "starts another one" if event.restarts else "ends"
            return "bad", f"its engine died, and it {then}: {event.reason}"
        case NodeStopped():
            return "info", f"ended: {event.cause or 'in order'}"
        case NodeGone():
            return "warning", f"its machine is gone: {event.cause}"
    assert_never(event)


def _of_job(
    event: JobTakenOver | JobReleased | JobRetried | JobLost | JobDead,
) -> tuple[Grade, str]:
    job = f"job {event.job} of {event.tenant}"
    match event:
        case JobTakenOver():
            word = "handed over by" if event.released else "taken over from"
            saved = f"{event.items_done} items done, {event.tokens_saved} tokens saved"
            grade: Grade = "info" if event.released else "warning"
            return grade, f"{job} {word} {event.from_node or 'a silent node'}: {saved}"
        case JobReleased():
            return "info", f"{job} given back: {event.items_done} items done"
        case JobRetried():
            return "warning", (
                f"{job} failed {event.attempts} times, again in {event.delay_s:.0f} s "
                f"({event.code}): {event.reason}"
            )
        case JobLost():
            return "warning", f"{job} was another's by then: {event.reason}"
        case JobDead():
            return "bad", f"{job} was given up ({event.code}): {event.reason}"
    assert_never(event)


def _of_people(event: PoolDecided | PoolActed | OperatorActed) -> tuple[Grade, str]:
    grade: Grade
    match event:
        case PoolDecided():
            wanted = f"{event.spot} spot, {event.fallback} fallback, {event.realtime} real-time"
            risk = f"; at risk: {', '.join(event.at_risk)}" if event.at_risk else ""
            why = f" ({event.reasons[0]})" if event.reasons else ""
            return (
                "warning" if event.at_risk else "info",
                f"{event.model} wants {wanted}{risk}{why}",
            )
        case PoolActed():
            bad = event.action in {"refused", "unheard", "reaped"}
            count = len(event.machines) or "no"
            what = f"{event.action} {count} {event.capacity_type or ''} in {event.zone or '-'}"
            return "warning" if bad else "info", f"{event.model}: {what}: {event.why}"
        case OperatorActed():
            result = f": {event.result}" if event.result else ""
            grade = "bad" if event.outcome == "failed" else "warning"
            return grade, f"{event.by}: {event.deed} {event.target}, {event.outcome}{result}"
    assert_never(event)
