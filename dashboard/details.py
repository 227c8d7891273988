"""All that is known about a row, as lines to read. Pure."""

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, assert_never

import msgspec

from dashboard import units
from dashboard.event_rows import EventRow, event_rows
from dashboard.job_rows import BatchRow, JobRow, batch_rows, job_rows
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
            rows = (new for new in job_rows(snapshot) if new.key == row.key)
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
    lines: list[Line] = []
    match row:
        case NodeRow():
            lines += _fields(_of_node(row, detail.window), width, look)
            lines += _jobs([job for job in job_rows(snapshot) if job.node == row.node], look)
            lines += _events([e for e in event_rows(snapshot) if e.node == row.node], look)
        case QueueRow():
            lines += _fields(_of_queue(row, detail.window), width, look)
            own = [job for job in job_rows(snapshot)
                   if (job.tier, job.model) == (row.tier, row.model)]  # fmt: skip
            lines += _jobs(own, look)
        case JobRow():
            lines += _fields(_of_job(row), width, look)
            lines += _story(detail, width, look)
        case BatchRow():
            lines += _fields(_of_batch(row, detail.window), width, look)
            own = [job for job in job_rows(snapshot)
                   if (job.tenant, job.batch) == (row.tenant, row.batch)]  # fmt: skip
            lines += _jobs(own, look)
        case CostRow():
            lines += _fields(_of_cost(row), width, look)
        case EventRow():
            lines += _fields(_of_event(row), width, look)
        case _:
            assert_never(row)
    return lines


class _Field(NamedTuple):
    name: str
    text: str | None
    tone: Tone = "plain"


def _fields(fields: Sequence[_Field], width: int, look: Look) -> Iterator[Line]:
    for name, text, tone in fields:
        shown = wrapped(text or units.DASH, width - _NAME - 2, look)
        for n, part in enumerate(shown):
            label = f" {name if n == 0 else '':<{_NAME}} "
            yield Line((Piece(label, "dim"), Piece(part, tone if text else "dim")))


def wrapped(foreign: str, width: int, look: Look) -> list[str]:
    """Break a foreign text into lines of at most `width` characters."""
    drawn = look.drawn(safe(foreign, most=MOST_CHARACTERS))
    return textwrap.wrap(drawn, max(10, width), break_on_hyphens=False) or [units.DASH]


def _of_node(row: NodeRow, window: str) -> list[_Field]:
    leaves = None
    if row.notice or row.leaves_in_s is not None:
        leaves = f"in {units.countdown(row.leaves_in_s)}, says {row.notice or 'nobody'}"
    stale = "no heartbeat for " if row.is_stale else ""
    return [
        _Field("state", f"{row.state} {row.how}".strip(), "warn" if row.is_stale else "strong"),
        _Field("leaves", leaves, "bad"),
        _Field("heartbeat", f"{stale}{units.age(row.beat_age_s)}", "bad" if stale else "plain"),
        _Field("capacity type", row.capacity_type),
        _Field("zone", row.zone),
        _Field("GPU", row.instance_type),
        _Field("model", f"{row.model} on {row.engine}"),
        _Field("in flight", f"{row.items} items of {row.jobs} jobs, {row.slots} slots"),
        _Field("KV cache", _known(units.percent(row.kv_cache))),
        _Field(f"tokens/s, {window}", _known(units.rate(row.tokens_per_s))),
        _Field("tokens in all", units.count(row.tokens_generated)),
        _Field("price", _known(units.usd(row.price_usd_per_hour), "/h")),
        _Field(f"cost, {window}", _known(units.usd(row.usd_per_million), " a million tokens")),
        _Field("up", units.age(row.up_s)),
    ]


def _of_queue(row: QueueRow, window: str) -> list[_Field]:
    state = "open" if row.exists else "no durable serves it: `fleet init` makes one"
    if row.paused_s > 0:
        state = f"paused for another {units.age(row.paused_s)}"
    return [
        _Field("state", state, "plain" if state == "open" else "warn"),
        _Field("stored", _known(units.count(row.jobs))),
        _Field("waiting", _known(units.count(row.waiting))),
        _Field("in flight", _known(units.count(row.in_flight))),
        _Field("redelivered", _known(units.count(row.redelivered))),
        _Field("stuck", _known(units.count(row.stuck)), "bad" if row.stuck else "plain"),
        _Field("dead letters", _known(units.count(row.dead)), "warn" if row.dead else "plain"),
        _Field("oldest", _known(units.age(row.oldest_s))),
        _Field("95% younger", _known(units.age(row.age_p95_s))),
        _Field(f"jobs/s, {window}", _known(units.rate(row.jobs_per_s))),
        _Field("drained in", _known(units.age(row.drain_s))),
    ]


def _of_job(row: JobRow) -> list[_Field]:
    return [
        _Field("state", f"{row.state}{', ' + row.trouble if row.trouble else ''}",
               "bad" if row.trouble else "strong"),
        _Field("node", row.node),
        _Field("queue", f"{row.tier} {row.model}"),
        _Field("batch", row.batch),
        _Field("progress", _progress(row)),
        _Field("saved", _known(units.age(row.checkpoint_age_s), " ago")),
        _Field("stored", f"{units.age(row.age_s)} ago"),
        _Field("deadline in", _known(units.age(row.expires_in_s))),
        _Field("attempts", f"{row.attempts} failed, {row.interruptions} interrupted"),
        _Field("error", row.error, "bad"),
    ]  # fmt: skip


def _of_batch(row: BatchRow, window: str) -> list[_Field]:
    return [
        _Field("state", row.state, "strong"),
        _Field("at risk", row.at_risk, "bad"),
        _Field("queue", f"{row.tier} {row.model}"),
        _Field("progress", f"{units.percent(row.progress)}, {units.count(row.done)} "
                           f"of {units.count(row.items)} items"),
        _Field("failed items", _known(units.count(row.failed)), "warn" if row.failed else "plain"),
        _Field(f"items/s, {window}", _known(units.rate(row.items_per_s))),
        _Field("done in", _known(units.age(row.eta_s))),
        _Field("deadline in", _known(units.age(row.expires_in_s)),
               "bad" if row.is_late else "plain"),
        _Field("asked for", f"{units.age(row.age_s)} ago"),
    ]  # fmt: skip


def _of_cost(one: CostRow) -> list[_Field]:
    row = one.row
    return [
        _Field("today (UTC)", units.usd(row.usd), "strong"),
        _Field("useful work", units.usd(row.direct_usd)),
        _Field("node hours", units.rate(row.hours)),
        _Field("items", units.count(row.items)),
        _Field("output tokens", units.count(row.output_tokens)),
        _Field("a million tokens", _known(units.usd(row.usd_per_million))),
        _Field("on on-demand", _known(units.usd(row.on_demand_usd))),
        _Field("saved", _known(units.usd(row.saved_usd))),
    ]


def _of_event(row: EventRow) -> list[_Field]:
    tone: Tone = "bad" if row.grade == "bad" else "warn" if row.grade == "warning" else "plain"
    return [
        _Field("when", f"{units.clock(row.at)} UTC, {units.age(row.age_s)} ago"),
        _Field("who", row.node),
        _Field("what", row.text, tone),
    ]


def _known(text: str, unit: str = "") -> str | None:
    return None if text == units.DASH else text + unit


def _progress(row: JobRow) -> str | None:
    if row.progress is None:
        return None
    return f"{units.percent(row.progress)} of {units.count(row.items)} items"


def _story(detail: Detail, width: int, look: Look) -> Iterator[Line]:
    story = detail.story
    if story is None:
        yield from _head("its life", look)
        words = detail.trouble or "is being read ..."
        yield from _fields([_Field("", words, "warn" if detail.trouble else "dim")], width, look)
        return
    yield from _head("why it is where it is", look)
    for reason in story.why or ("nobody can say",):
        yield from _bulleted(reason, "strong", width, look)
    yield from _head("deliveries, interruptions, retries", look)
    for step in story.steps:
        at = units.DASH if step.at is None else units.clock(step.at)
        who = f" ({step.node})" if step.node else ""
        for n, part in enumerate(wrapped(step.what + who, width - 13, look)):
            when = Piece(f" {at if n == 0 else '':<10}  ", "dim")
            yield Line((when, Piece(part, "bad" if step.bad else "plain")))
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
    yield from _head(f"jobs ({len(rows)})", look)
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


def _events(rows: Sequence[EventRow], look: Look) -> Iterator[Line]:
    yield from _head(f"events ({len(rows)})", look)
    for row in rows[:_LISTED]:
        tone: Tone = "bad" if row.grade == "bad" else "plain"
        yield Line((Piece(f" {units.clock(row.at)}  ", "dim"), Piece(look.text(row.text), tone)))


def as_json(row: AnyRow) -> str:
    """Write a row as JSON, for the clipboard; in ASCII, for half a character can stand in it."""
    return json.dumps(msgspec.to_builtins(row._asdict() if isinstance(row, CostRow) else row))
