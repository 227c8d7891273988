"""What the answer of a metadata service means. Pure: times come with the answer."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from fleet.notice import Notice, NoticeSource
from fleet.subjects import plain, shown

T = TypeVar("T")

MOST_LEFT_S: Final = 120.0
# A notice that is older than this was meant for an earlier life of the machine.
STALE_S: Final = 60.0
# What is left where the answer does not say: the cloud's lead time, on AWS less one poll.
FLOORS_S: Final[Mapping[NoticeSource, float]] = {"aws": 118.0, "asg": 118.0, "gcp": 30.0,
                                                 "azure": 30.0}  # fmt: skip
_LONGEST_TIME: Final = 64


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP answer. headers: names in lower case. at: when it came, by time.monotonic().

    cut: the body was longer than anything that we expect, and is not whole.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    at: float
    cut: bool = False


class Rubbish(msgspec.Struct, frozen=True):
    """An answer that cannot be what we asked for."""

    text: str


class Stale(msgspec.Struct, frozen=True):
    """A notice whose time is long past."""

    text: str


Reading: TypeAlias = Notice | Rubbish | Stale | None


class Scheduled(msgspec.Struct, frozen=True):
    """An event that Azure has in store for this machine."""

    id: str
    notice: Notice


class _InstanceAction(msgspec.Struct, frozen=True):
    action: str
    time: Any = None


class _Recommendation(msgspec.Struct, frozen=True):
    noticeTime: str  # noqa: N815 - AWS's name


class _AzureEvent(msgspec.Struct, frozen=True, rename="pascal"):
    event_id: str
    event_type: str
    event_status: str = ""
    resources: tuple[str, ...] = ()
    not_before: str | None = None


class _AzureEvents(msgspec.Struct, frozen=True, rename="pascal"):
    events: list[msgspec.Raw]


def aws_action(answer: Answer) -> Reading:
    """Read spot/instance-action. A stop and a hibernation end the work as a termination does."""
    if answer.status == 404:
        return None
    found = _json(answer, _InstanceAction)
    if isinstance(found, Rubbish):
        return found
    if found.action not in {"terminate", "stop", "hibernate"}:
        return Rubbish(f"no action of AWS: {shown(found.action)}")
    detail = f"{found.action} at {plain(str(found.time), limit=_LONGEST_TIME)}"
    if found.action == "hibernate":  # begins with the notice
        return Notice(kind="terminate", source="aws", deadline=answer.at, detail=detail)
    return _terminate(answer, "aws", _iso_time(found.time), detail)


def aws_rebalance(answer: Answer) -> Reading:
    """Read events/recommendations/rebalance: a hint, and never a drain."""
    if answer.status == 404:
        return None
    found = _json(answer, _Recommendation)
    if isinstance(found, Rubbish):
        return found
    detail = f"rebalance recommended at {plain(found.noticeTime, limit=_LONGEST_TIME)}"
    return Notice(kind="rebalance", source="aws", detail=detail)


def asg_state(answer: Answer) -> Reading:
    """Read autoscaling/target-lifecycle-state. It carries no time."""
    if answer.status == 404:
        return None
    state = _text(answer)
    if isinstance(state, Rubbish) or state != "Terminated":
        return state if isinstance(state, Rubbish) else None
    return _terminate(answer, "asg", None, "target lifecycle state Terminated")


def gcp_preempted(answer: Answer) -> Reading:
    """Read instance/preempted."""
    state = _google(answer)
    match state:
        case "TRUE":
            return _terminate(answer, "gcp", None, "preempted")
        case "FALSE":
            return None
        case Rubbish():
            return state
        case _:
            return Rubbish(f"neither TRUE nor FALSE: {shown(state)}")


def gcp_maintenance(answer: Answer) -> Reading:
    """Read instance/maintenance-event. A live migration is no reason to stop."""
    state = _google(answer)
    if isinstance(state, Rubbish):
        return state
    if state.startswith("TERMINATE_"):
        return _terminate(answer, "gcp", None, plain(state))
    if state == "NONE" or state.startswith("MIGRATE_"):
        return None
    return Rubbish(f"no maintenance of Google's: {shown(state)}")


def azure_events(answer: Answer, machine: str) -> list[Scheduled | Rubbish | Stale] | Rubbish:
    """Read scheduledevents: what ends `machine`, for every machine of a scale set hears it all."""
    document = _json(answer, _AzureEvents)
    if isinstance(document, Rubbish):
        return document
    found: list[Scheduled | Rubbish | Stale] = []
    for raw in document.events:
        event = _decoded(bytes(raw), _AzureEvent)
        if isinstance(event, Rubbish):
            found.append(event)
        elif event.event_type in {"Preempt", "Terminate"} and machine.lower() in {
            name.lower() for name in event.resources
        }:
            found.append(_scheduled(answer, event))
    return found


def azure_machine(answer: Answer) -> str | Rubbish:
    """Read instance/compute/name: what this machine is called in events."""
    name = _text(answer)
    if isinstance(name, Rubbish) or (0 < len(name) <= 256 and name.isprintable()):
        return name
    return Rubbish("no name of a machine")


def _scheduled(answer: Answer, event: _AzureEvent) -> Scheduled | Stale:
    detail = f"{event.event_type} {plain(event.event_status, limit=40)} {plain(event.event_id)}"
    if event.event_status == "Started" and not event.not_before:
        now = Notice(kind="terminate", source="azure", deadline=answer.at, detail=detail)
        return Scheduled(event.event_id, now)
    reading = _terminate(answer, "azure", _http_time(event.not_before), detail)
    return reading if isinstance(reading, Stale) else Scheduled(event.event_id, reading)


def _terminate(
    answer: Answer, source: NoticeSource, until: datetime | None, detail: str
) -> Notice | Stale:
    """Give notice with the time left by the service's own clock, of which ours knows nothing."""
    now = _http_time(answer.headers.get("date"))
    left_s = FLOORS_S[source] if until is None or now is None else (until - now).total_seconds()
    if left_s < -STALE_S:
        return Stale(f"{detail}, {-left_s:.0f} s ago")
    deadline = answer.at + min(max(left_s, 0.0), MOST_LEFT_S)
    return Notice(kind="terminate", source=source, deadline=deadline, detail=detail)


def _google(answer: Answer) -> str | Rubbish:
    if answer.headers.get("metadata-flavor") != "Google":
        return Rubbish(f"status {answer.status} from something that is not Google's")
    return _text(answer)


def _text(answer: Answer) -> str | Rubbish:
    if flaw := _flaw(answer):
        return flaw
    try:
        return answer.body.decode().strip()
    except UnicodeDecodeError:
        return Rubbish("not a text")


def _json(answer: Answer, type_: type[T]) -> T | Rubbish:
    flaw = _flaw(answer)
    return flaw if flaw is not None else _decoded(answer.body, type_)


def _decoded(body: bytes, type_: type[T]) -> T | Rubbish:
    try:
        return msgspec.json.decode(body, type=type_)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Rubbish(f"not the JSON that it should be: {plain(str(error))}")


def _flaw(answer: Answer) -> Rubbish | None:
    if answer.status != 200:
        return Rubbish(f"status {answer.status}")
    return Rubbish("far too long") if answer.cut else None


def _iso_time(value: object) -> datetime | None:
    if not isinstance(value, str) or len(value) > _LONGEST_TIME:
        return None
    try:
        return _aware(datetime.fromisoformat(value))
    except ValueError:
        return None


def _http_time(value: str | None) -> datetime | None:
    if not value or len(value) > _LONGEST_TIME:
        return None
    try:
        return _aware(parsedate_to_datetime(value))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _aware(time: datetime) -> datetime | None:
    known = time if time.tzinfo else time.replace(tzinfo=UTC)
    # At the ends of the calendar a difference of two times has no room.
    return known if timedelta(0) < known - datetime(1, 1, 2, tzinfo=UTC) else None
