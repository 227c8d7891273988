"""A whole snapshot for those who look at no screen: as tables, and as one object. Pure."""

from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from dashboard import units
from dashboard.cost_rows import CostLine, CostView, cost_rows, cost_view
from dashboard.event_rows import EventRow, event_rows
from dashboard.findings import Finding, Level, findings, worst
from dashboard.job_rows import BatchRow, JobRow, batch_rows, job_rows
from dashboard.lines import Line, body, head
from dashboard.look import Look
from dashboard.model import FleetTotals, NodeRow, totals
from dashboard.overview import age_s, window_name
from dashboard.queue_rows import QueueRow, QueueTotals, queue_rows, queue_totals
from dashboard.snapshot import FleetSnapshot, Part, PoolFact
from dashboard.table import Order, Table, place
from dashboard.views import cost, events, fleet, jobs, queue

T = TypeVar("T")
# Rows of jobs and events that a table shows; the JSON holds all.
_MOST: Final = 20


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """What `fleet top --json` writes. age_s: of the data; rates are over window_s seconds."""

    at: float
    source: str
    connected: bool
    age_s: float | None
    read_at: dict[Part, float]
    troubles: dict[Part, str]
    window_s: float
    level: Level
    findings: list[Finding]
    fleet: FleetTotals
    work: QueueTotals
    nodes: list[NodeRow]
    queues: list[QueueRow]
    jobs_in_all: int | None
    jobs: list[JobRow]
    batches: list[BatchRow]
    pools: tuple[PoolFact, ...]
    costs: CostView
    pool_costs: list[CostLine]
    tenant_costs: list[CostLine]
    events: list[EventRow]


def whole(snapshot: FleetSnapshot, window_s: float) -> Whole:
    """Make the object of a snapshot."""
    nodes = fleet.rows(snapshot, window_s)
    found = findings(snapshot)
    return Whole(
        at=snapshot.at,
        source=snapshot.source,
        connected=snapshot.connected,
        age_s=age_s(snapshot),
        read_at=snapshot.read_at,
        troubles=snapshot.troubles,
        window_s=window_s,
        level=worst(found),
        findings=found,
        fleet=totals(nodes),
        work=queue_totals(snapshot),
        nodes=nodes,
        queues=queue_rows(snapshot, window_s),
        jobs_in_all=snapshot.jobs_in_all,
        jobs=list(job_rows(snapshot)),
        batches=batch_rows(snapshot, window_s),
        pools=snapshot.pools,
        costs=cost_view(snapshot, window_s),
        pool_costs=cost_rows(snapshot, "pool"),
        tenant_costs=cost_rows(snapshot, "tenant"),
        events=event_rows(snapshot),
    )


def tables(snapshot: FleetSnapshot, window_s: float, *, width: int, look: Look) -> str:
    """Write a snapshot as tables of at most `width` columns, what needs a look before them."""
    window = window_name(window_s)
    parts = [_top(snapshot, window_s, look)]
    found = [one for one in findings(snapshot) if one.level != "ok"]
    if found:
        parts.append("\n".join(f"{one.level.upper()}: {look.text(one.text)}" for one in found))
    parts += [
        _table(fleet.table(look), fleet.rows(snapshot, window_s), window_s, width, look),
        _table(queue.table(look), queue_rows(snapshot, window_s), window_s, width, look),
        _table(
            jobs.batch_table(look), batch_rows(snapshot, window_s)[:_MOST], window_s, width, look
        ),
        _table(jobs.job_table(look), job_rows(snapshot)[:_MOST], window_s, width, look),
        "\n".join(map(_text, cost.figure_lines(cost_view(snapshot, window_s), window, look))),
        _table(cost.table(look), cost.rows(snapshot)[:_MOST], window_s, width, look),
        _table(events.table(look), event_rows(snapshot)[:_MOST], window_s, width, look),
    ]
    return "\n\n".join(parts)


def _top(snapshot: FleetSnapshot, window_s: float, look: Look) -> str:
    sums, work = totals(fleet.rows(snapshot, window_s)), queue_totals(snapshot)
    state = "" if snapshot.connected else ", not connected"
    return (
        f"{look.text(snapshot.source)}{state}, data {units.age(age_s(snapshot))} old, rates over "
        f"{window_name(window_s)}: {sums.ready} of {sums.nodes} nodes ready, {sums.items} items in "
        f"hand, {units.rate(sums.tokens_per_s)} tokens/s, {units.usd(sums.usd_per_hour)}/h, "
        f"{units.count(work.waiting)} jobs wait, {units.count(work.in_flight)} are out"
    )


def _table(table: Table[T], rows: Sequence[T], window_s: float, width: int, look: Look) -> str:
    if not rows:
        return f"{table.name}: {table.empty}"
    placed = place(table.columns, width)
    lines = [head(placed, Order(), window_name(window_s), look)]
    lines += [body(table, placed, row, cursor=False, look=look) for row in rows]
    return "\n".join(map(_text, lines))


def _text(line: Line) -> str:
    return "".join(piece.text for piece in line.pieces).rstrip()
