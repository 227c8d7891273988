"""All that is known about a row, as lines to read. Pure."""

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, assert_never

import msgspec

from dashboard import units
from dashboard.event_rows import EventRow, event_rows
from dashboard.fields import Field, fields_of
from dashboard.job_rows import BatchRow, JobRow, batch_rows, job_rows, key_of
from dashboard.lines import Line, Piece
from dashboard.look import Look
from dashboard.model import NodeRow, fleet_rows
from dashboard.queue_rows import QueueRow, queue_rows
from dashboard.safe import safe
from dashboard.snapshot import FleetSnapshot, Story
from dashboard.table import Tone
from dashboard.targets import AnyRow
from dashboard.views.cost import CostRow
from dashboard.views.cost import rows as cost_rows

# Reasons and errors may be long, and here is where somebody reads them.
MOST_CHARACTERS: Final = 4000
_NAME: Final = 16
_LISTED: Final = 12


class Detail(NamedTuple):
    """What a row's page is made of. story: of a job, once it was read. gone: it has no row now."""

    row: AnyRow
    snapshot: FleetSnapshot
    window: str
    story: Story | None = None
    trouble: str = ""
    gone: bool = False


def again(row: AnyRow, snapshot: FleetSnapshot, window_s: float) -> AnyRow | None:
    """Find a row in a newer snapshot; None where it is no longer listed."""
    rows: Iterable[AnyRow]
    match row:
        case NodeRow():
            rows = (new for new in fleet_rows(snapshot, window_s) if new.node == row.node)
        case QueueRow():
            rows = (new for new in queue_rows(snapshot, window_s) if new.key == row.key)
        case JobRow():
            rows = job_rows(snapshot).where(lambda job: key_of(job) == row.key)
        case BatchRow():
            rows = (new for new in batch_rows(snapshot, window_s) if new.key == row.key)
        case CostRow():
            same = (row.by, row.row.name)
            rows = (new for new in cost_rows(snapshot) if (new.by, new.row.name) == same)
        case EventRow():
            rows = (new for new in event_rows(snapshot) if new.key == row.key)
        case _:
            assert_never(row)
    return next(iter(rows), None)


def title(row: AnyRow, look: Look) -> str:
    """Name a row in one line."""
    match row:
        case NodeRow():
            return f"node {look.text(row.node)}"
        case QueueRow():
            tenant = "" if row.tenant == "*" else f" of {look.text(row.tenant)}"
            return f"queue {row.tier} {look.text(row.model)}{tenant}"
        case JobRow():
            return f"job {look.text(row.job)} of {look.text(row.tenant)}"
        case BatchRow():
            return f"batch {look.text(row.batch)} of {look.text(row.tenant)}"
        case CostRow():
            return f"cost of {row.by} {look.text(row.row.name)}"
        case EventRow():
            return f"event {look.text(row.kind)}"
        case _:
            assert_never(row)


def detail_lines(detail: Detail, width: int, look: Look) -> list[Line]:
    """Make the page: what the row holds, then what belongs to it."""
    row, snapshot = detail.row, detail.snapshot
    lines = [*_fields(fields_of(row, detail.window), width, look)]
    match row:
        case NodeRow():
            lines += _jobs(job_rows(snapshot).where(lambda job: job.node == row.node), look)
            own_events = [event for event in event_rows(snapshot) if event.node == row.node]
            lines += _events(own_events, width, look)
        case QueueRow():
            queue = (row.tier, row.model)
            own = job_rows(snapshot).where(lambda job: (job.tier, job.model) == queue)
            lines += _jobs(own, look)
        case JobRow():
            lines += _story(detail, width, look)
        case BatchRow():
            batch = (row.tenant, row.batch)
            own = job_rows(snapshot).where(lambda job: (job.tenant, job.batch) == batch)
            lines += _jobs(own, look)
        case CostRow() | EventRow():
            pass
        case _:
            assert_never(row)
    return lines


def _fields(fields: Sequence[Field], width: int, look: Look) -> Iterator[Line]:
    for name, text, tone in fields:
        shown = wrapped(text or units.DASH, width - _NAME - 2, look)
        for n, part in enumerate(shown):
            label = f" {name if n == 0 else '':<{_NAME}} "
            yield Line((Piece(label, "dim"), Piece(part, tone if text else "dim")))


def wrapped(foreign: str, width: int, look: Look) -> list[str]:
    """Break a foreign text into lines of at most `width` characters."""
    drawn = look.drawn(safe(foreign, most=MOST_CHARACTERS))
    return textwrap.wrap(drawn, max(10, width), break_on_hyphens=False) or [units.DASH]


def _story(detail: Detail, width: int, look: Look) -> Iterator[Line]:
    story = detail.story
    if story is None:
        yield from _head("its life", look)
        words = detail.trouble or "is being read ..."
        yield from _fields([Field("", words, "warn" if detail.trouble else "dim")], width, look)
        return
    yield from _head("why it is where it is", look)
    for reason in story.why or ("nobody can say",):
        yield from _bulleted(reason, "strong", width, look)
    yield from _head("deliveries, interruptions, retries, UTC", look)
    for step in story.steps:
        at = units.DASH if step.at is None else units.clock(step.at)
        who = f" ({step.node})" if step.node else ""
        yield from _timed(at, step.what + who, "bad" if step.bad else "plain", width, look)
    if story.errors:
        yield from _head("errors", look)
    for error in story.errors:
        yield from _bulleted(error, "bad", width, look)


def _bulleted(foreign: str, tone: Tone, width: int, look: Look) -> Iterator[Line]:
    for n, part in enumerate(wrapped(foreign, width - 4, look)):
        sign = look.glyph("bullet") if n == 0 else " "
        yield Line((Piece(f" {sign} ", "dim"), Piece(part, tone)))


def _head(words: str, look: Look) -> Iterator[Line]:
    yield Line(())
    yield Line((Piece(f" {look.drawn(words)}", "strong"),))


def _jobs(rows: Sequence[JobRow], look: Look) -> Iterator[Line]:
    yield from _head(f"jobs ({len(rows)}): state, progress, age", look)
    for row in rows[:_LISTED]:
        tone: Tone = "bad" if row.trouble else "plain"
        state = row.trouble or row.state
        yield Line((
            Piece(f" {state:<10}", tone),
            Piece(f"{units.percent(row.progress):>5}  {units.age(row.age_s):>6}  ", "dim"),
            Piece(f"{look.text(row.job)}  ", "plain"),
            Piece(look.text(row.tenant), "dim"),
        ))  # fmt: skip
    if len(rows) > _LISTED:
        yield Line((Piece(f" and {len(rows) - _LISTED} more", "dim"),))


def _events(rows: Sequence[EventRow], width: int, look: Look) -> Iterator[Line]:
    yield from _head(f"events ({len(rows)}), UTC", look)
    for row in rows[:_LISTED]:
        tone: Tone = "bad" if row.grade == "bad" else "plain"
        yield from _timed(units.clock(row.at), row.text, tone, width, look)


def _timed(at: str, foreign: str, tone: Tone, width: int, look: Look) -> Iterator[Line]:
    for n, part in enumerate(wrapped(foreign, width - 13, look)):
        yield Line((Piece(f" {at if n == 0 else '':<10}  ", "dim"), Piece(part, tone)))


def as_json(row: AnyRow) -> str:
    """Write a row as JSON, for the clipboard; in ASCII, for half a character can stand in it."""
    return json.dumps(msgspec.to_builtins(row._asdict() if isinstance(row, CostRow) else row))
