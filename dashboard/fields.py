"""What a row holds, as named fields to read. Pure."""

from typing import NamedTuple, assert_never

from dashboard import units
from dashboard.event_rows import EventRow
from dashboard.job_rows import BatchRow, JobRow
from dashboard.model import NodeRow
from dashboard.queue_rows import QueueRow
from dashboard.table import Tone
from dashboard.targets import AnyRow
from dashboard.views.cost import CostRow


class Field(NamedTuple):
    """A name and what stands behind it, foreign; None for what is not known."""

    name: str
    text: str | None
    tone: Tone = "plain"


def fields_of(row: AnyRow, window: str) -> list[Field]:
    """Give what a row holds. window: over which its rates are."""
    match row:
        case NodeRow():
            return _of_node(row, window)
        case QueueRow():
            return _of_queue(row, window)
        case JobRow():
            return _of_job(row)
        case BatchRow():
            return _of_batch(row, window)
        case CostRow():
            return _of_cost(row)
        case EventRow():
            return _of_event(row)
        case _:
            assert_never(row)


def _of_node(row: NodeRow, window: str) -> list[Field]:
    leaves = None
    if row.notice or row.leaves_in_s is not None:
        leaves = f"in {units.countdown(row.leaves_in_s)}, says {row.notice or 'nobody'}"
    stale = "no heartbeat for " if row.is_stale else ""
    return [
        Field("state", f"{row.state} {row.how}".strip(), "warn" if row.is_stale else "strong"),
        Field("leaves", leaves, "bad"),
        Field("heartbeat", f"{stale}{units.age(row.beat_age_s)}", "bad" if stale else "plain"),
        Field("capacity type", row.capacity_type),
        Field("zone", row.zone),
        Field("GPU", row.instance_type),
        Field("model", f"{row.model} on {row.engine}"),
        Field("in flight", f"{row.items} items of {row.jobs} jobs, {row.slots} slots"),
        Field("KV cache", _known(units.percent(row.kv_cache))),
        Field(f"tokens/s, {window}", _known(units.rate(row.tokens_per_s))),
        Field("tokens in all", units.count(row.tokens_generated)),
        Field("price", _known(units.usd(row.price_usd_per_hour), "/h")),
        Field(f"cost, {window}", _known(units.usd(row.usd_per_million), " a million tokens")),
        Field("up", units.age(row.up_s)),
    ]


def _of_queue(row: QueueRow, window: str) -> list[Field]:
    state = "open" if row.exists else "no durable serves it: `fleet init` makes one"
    if row.paused_s > 0:
        state = f"paused for another {units.age(row.paused_s)}"
    return [
        Field("state", state, "plain" if state == "open" else "warn"),
        Field("stored", _known(units.count(row.jobs))),
        Field("waiting", _known(units.count(row.waiting))),
        Field("in flight", _known(units.count(row.in_flight))),
        Field("redelivered", _known(units.count(row.redelivered))),
        Field("stuck", _known(units.count(row.stuck)), "bad" if row.stuck else "plain"),
        Field("dead letters", _known(units.count(row.dead)), "warn" if row.dead else "plain"),
        Field("oldest", _known(units.age(row.oldest_s))),
        Field("95% younger", _known(units.age(row.age_p95_s))),
        Field(f"jobs/s, {window}", _known(units.rate(row.jobs_per_s))),
        Field("drained in", _known(units.age(row.drain_s))),
    ]


def _of_job(row: JobRow) -> list[Field]:
    return [
        Field("state", f"{row.state}{', ' + row.trouble if row.trouble else ''}",
               "bad" if row.trouble else "strong"),
        Field("node", row.node),
        Field("queue", f"{row.tier} {row.model}"),
        Field("batch", row.batch),
        Field("progress", _progress(row)),
        Field("saved", _known(units.age(row.checkpoint_age_s), " ago")),
        Field("stored", f"{units.age(row.age_s)} ago"),
        Field("deadline in", _known(units.age(row.expires_in_s))),
        Field("attempts", f"{row.attempts} failed, {row.interruptions} interrupted"),
        Field("error", row.error, "bad"),
    ]  # fmt: skip


def _of_batch(row: BatchRow, window: str) -> list[Field]:
    return [
        Field("state", f"{row.state}{', late' if row.is_late else ''}",
              "bad" if row.is_late else "strong"),
        Field("at risk", row.at_risk, "bad"),
        Field("queue", f"{row.tier} {row.model}"),
        Field("progress", f"{units.percent(row.progress)}, {units.count(row.done)} "
                           f"of {units.count(row.items)} items"),
        Field("failed items", _known(units.count(row.failed)), "warn" if row.failed else "plain"),
        Field(f"items/s, {window}", _known(units.rate(row.items_per_s))),
        Field("done in", _known(units.age(row.eta_s))),
        Field("deadline in", _known(units.age(row.expires_in_s)),
               "bad" if row.is_late else "plain"),
        Field("asked for", f"{units.age(row.age_s)} ago"),
    ]  # fmt: skip


def _of_cost(one: CostRow) -> list[Field]:
    row = one.row
    return [
        Field("today (UTC)", units.usd(row.usd), "strong"),
        Field("useful work", units.usd(row.direct_usd)),
        Field("node hours", units.rate(row.hours)),
        Field("items", units.count(row.items)),
        Field("output tokens", units.count(row.output_tokens)),
        Field("a million tokens", _known(units.usd(row.usd_per_million))),
        Field("on on-demand", _known(units.usd(row.on_demand_usd))),
        Field("saved", _known(units.usd(row.saved_usd))),
    ]


def _of_event(row: EventRow) -> list[Field]:
    tone: Tone = "bad" if row.grade == "bad" else "warn" if row.grade == "warning" else "plain"
    return [
        Field("when", f"{units.clock(row.at)} UTC, {units.age(row.age_s)} ago"),
        Field("who", row.node),
        Field("what", row.text, tone),
    ]


def _known(text: str, unit: str = "") -> str | None:
    return None if text == units.DASH else text + unit


def _progress(row: JobRow) -> str | None:
    if row.progress is None:
        return None
    return f"{units.percent(row.progress)} of {units.count(row.items)} items"
