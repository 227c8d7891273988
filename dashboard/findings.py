"""What is wrong with a fleet, in order of how bad it is. Pure.

The header of the screen and `fleet check` say the same, for both are made of this.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from dashboard.cost_rows import costly
from dashboard.job_rows import batch_rows, troubled
from dashboard.model import fleet_rows, totals
from dashboard.overview import window_name
from dashboard.queue_rows import queue_rows, queue_totals
from dashboard.snapshot import LOST_KEPT_S, WINDOWS_S, FleetSnapshot, Part
from fleet.events import (
    JobTakenOver,
    NodeDraining,
    NodeGone,
    NodeResumed,
    NodeStarted,
    NodeStopped,
)

Level: TypeAlias = Literal["ok", "warning", "critical", "unknown"]
# Of a limit. Nothing is more than what is no number, or less: such a limit would never be reached.
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
NAMES: Final = (
    "data", "nodes_ready", "nodes_lost", "nodes_leaving", "jobs_stuck", "queues_missing",
    "queues_paused", "realtime_oldest", "jobs_oldest", "jobs_still", "dead_letters",
    "batches_late", "nodes_costly",
)  # fmt: skip
# How the whole is judged by its parts; unknown beats ok, for nobody looked.
_WORST: Final[tuple[Level, ...]] = ("critical", "warning", "unknown", "ok")
# What is looked at anew every second or so, and said to be old after this.
OLD_S: Final = 60.0
_NEEDED: Final[tuple[Part, ...]] = ("nodes", "queues")
# So many names are told; of the rest their number.
_NAMED: Final = 3


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """From where on something is a warning, and from where on critical.

    oldest_s: the oldest job that is not done, of real time and of the others.
    """

    realtime_warning_s: Seconds = 30.0
    realtime_critical_s: Seconds = 120.0
    oldest_warning_s: Seconds = 3600.0
    oldest_critical_s: Seconds = 6 * 3600.0
    dead_warning: Count = 1
    dead_critical: Count = 1000


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. value: its number, None where nobody knows it.

    text: what it is, whole, for people; foreign names are in it. view: where the screen shows it.
    """

    name: str
    level: Level
    text: str
    value: float | None = None
    unit: Literal["", "s", "usd"] = ""
    view: int = 1


def findings(snapshot: FleetSnapshot, limits: Limits | None = None) -> list[Finding]:
    """Look at everything; one finding for each thing, in a fixed order."""
    looks: tuple[tuple[Part | None, Callable[[FleetSnapshot, Limits], Finding]], ...] = (
        (None, _data), ("nodes", _nodes), ("nodes", _lost), ("nodes", _leaving),
        ("queues", _stuck), ("queues", _unserved), ("queues", _paused),
        ("queues", _oldest_realtime), ("queues", _oldest), ("jobs", _stuck_jobs),
        ("queues", _dead), ("batches", _late), ("nodes", _costly),
    )  # fmt: skip
    return [_looked(snapshot, part, look(snapshot, limits or Limits())) for part, look in looks]


def _looked(snapshot: FleetSnapshot, part: Part | None, found: Finding) -> Finding:
    """Take back a finding whose part could not be read: that nothing was seen is no good news."""
    if part is None:
        return found
    at, trouble = snapshot.read_at.get(part), snapshot.troubles.get(part, "")
    if at is not None and not (trouble and snapshot.at - at > OLD_S):
        return found
    text = trouble or f"the {part} were not read"
    return msgspec.structs.replace(found, level="unknown", text=text, value=None)


def worst(found: Sequence[Finding], ignored: Collection[str] = ()) -> Level:
    """Give the level of the whole. ignored: names of findings that do not count for it."""
    levels = {one.level for one in found if one.name not in ignored}
    return next((level for level in _WORST if level in levels), "unknown")


def alarms(snapshot: FleetSnapshot) -> list[Finding]:
    """Give what deserves a look, worst first."""
    found = [one for one in findings(snapshot) if one.level != "ok"]
    return sorted(found, key=lambda one: _WORST.index(one.level))


def _data(snapshot: FleetSnapshot, _: Limits) -> Finding:
    """Judge whether anything of this can be believed."""
    ages = [snapshot.at - at for part in _NEEDED if (at := snapshot.read_at.get(part)) is not None]
    age_s = max(ages, default=None)
    troubles = (snapshot.troubles.get(part, "") for part in _NEEDED)
    trouble = "; ".join(dict.fromkeys(text for text in troubles if text))
    if age_s is None or len(ages) < len(_NEEDED):
        text = trouble or "nothing was read yet"
        return Finding(name="data", level="unknown", text=text, value=age_s, unit="s")
    if age_s > OLD_S or not snapshot.connected:
        text = f"the newest data is {age_s:.0f} s old: {trouble or 'the broker does not answer'}"
        return Finding(name="data", level="critical", text=text, value=age_s, unit="s")
    text = trouble or f"{age_s:.1f} s old"
    level: Level = "warning" if trouble else "ok"
    return Finding(name="data", level=level, text=text, value=age_s, unit="s")


def _nodes(snapshot: FleetSnapshot, _: Limits) -> Finding:
    sums, work = totals(fleet_rows(snapshot, WINDOWS_S[0])), queue_totals(snapshot)
    text = f"{sums.ready} of {sums.nodes} nodes ready"
    level: Level = "ok"
    if not sums.ready:
        has_work = bool(work.waiting or work.in_flight)
        level = "critical" if has_work else "warning"
        text += ", and jobs wait" if has_work else ""
    return Finding(name="nodes_ready", level=level, text=text, value=sums.ready)


def _lost(snapshot: FleetSnapshot, _: Limits) -> Finding:
    names = sorted(_lost_names(snapshot))
    text = f"lost without a word: {_listed(names)}" if names else "no node was lost lately"
    level: Level = "warning" if names else "ok"
    return Finding(name="nodes_lost", level=level, text=text, value=len(names))


def _lost_names(snapshot: FleetSnapshot) -> set[str]:
    """Name nodes that went without a word: as seen, and as EVENTS tell of the time before."""
    alive = {fact.node.node for fact in snapshot.nodes if fact.lost_at is None}
    lost = {fact.node.node for fact in snapshot.nodes if fact.lost_at is not None}
    in_order: set[str] = set()
    for event in (fact.event for fact in snapshot.events):
        match event:
            case NodeStopped() | NodeDraining():
                in_order.add(event.node)
            case NodeResumed() | NodeStarted():
                in_order.discard(event.node)
            case NodeGone() if snapshot.at - event.at <= LOST_KEPT_S:
                lost.add(event.node)
            case JobTakenOver(released=False, from_node=str(name)) if (
                snapshot.at - event.at <= LOST_KEPT_S
            ):
                lost.add(name)
            case _:
                pass
    return lost - alive - in_order


def _leaving(snapshot: FleetSnapshot, _: Limits) -> Finding:
    rows = [r for r in fleet_rows(snapshot, WINDOWS_S[0]) if r.state != "lost" and r.notice]
    rows.sort(key=lambda row: float("inf") if row.leaves_in_s is None else row.leaves_in_s)
    told = [
        f"{row.node} ({row.notice}"
        + (")" if row.leaves_in_s is None else f", {row.leaves_in_s:.0f} s left)")
        for row in rows
    ]
    text = f"leaving: {_listed(told)}" if told else "no node is under notice"
    level: Level = "warning" if rows else "ok"
    return Finding(name="nodes_leaving", level=level, text=text, value=len(rows))


def _stuck(snapshot: FleetSnapshot, _: Limits) -> Finding:
    count = queue_totals(snapshot).stuck
    if count is None and snapshot.queues:
        return Finding(name="jobs_stuck", level="unknown", text="not counted", view=2)
    text = f"{count or 0} jobs are stored, and neither wait nor are out"
    level: Level = "critical" if count else "ok"
    return Finding(name="jobs_stuck", level=level, text=text, value=count or 0, view=2)


def _unserved(snapshot: FleetSnapshot, _: Limits) -> Finding:
    rows = [row for row in queue_rows(snapshot, WINDOWS_S[0]) if not row.exists and row.jobs]
    names = [f"{row.jobs} of {row.tier} {row.model}" for row in rows]
    text = f"jobs that nobody serves: {_listed(names)}" if names else "all queues are served"
    level: Level = "critical" if names else "ok"
    return Finding(name="queues_missing", level=level, text=text, value=len(names), view=2)


def _paused(snapshot: FleetSnapshot, _: Limits) -> Finding:
    names = [f"{queue.tier} {queue.model}" for queue in snapshot.queues if queue.paused_s > 0]
    text = f"paused: {_listed(names)}" if names else "no queue is paused"
    level: Level = "warning" if names else "ok"
    return Finding(name="queues_paused", level=level, text=text, value=len(names), view=2)


def _oldest_realtime(snapshot: FleetSnapshot, limits: Limits) -> Finding:
    bounds = (limits.realtime_warning_s, limits.realtime_critical_s)
    return _age(snapshot, "realtime_oldest", bounds, realtime=True)


def _oldest(snapshot: FleetSnapshot, limits: Limits) -> Finding:
    bounds = (limits.oldest_warning_s, limits.oldest_critical_s)
    return _age(snapshot, "jobs_oldest", bounds, realtime=False)


def _age(
    snapshot: FleetSnapshot, name: str, bounds: tuple[float, float], *, realtime: bool
) -> Finding:
    ages = [
        (row.oldest_s, f"{row.tier} {row.model}")
        for row in queue_rows(snapshot, WINDOWS_S[0])
        if row.oldest_s is not None and (row.tier == "realtime") is realtime
    ]
    # Who may not read jobs knows the oldest of each tier all the same.
    ages += [
        (snapshot.at - at, tier)
        for tier, at in snapshot.oldest_at.items()
        if not ages and (tier == "realtime") is realtime
    ]
    if not ages:
        return Finding(name=name, level="ok", text="no job waits", value=0.0, unit="s", view=2)
    age_s, where = max(ages)
    warning, critical = bounds
    level: Level = "critical" if age_s > critical else "warning" if age_s > warning else "ok"
    text = f"the oldest job has waited {age_s:.0f} s, in {where}"
    return Finding(name=name, level=level, text=text, value=age_s, unit="s", view=2)


def _stuck_jobs(snapshot: FleetSnapshot, _: Limits) -> Finding:
    rows = [row for row in troubled(snapshot) if row.trouble in {"stuck", "suspect"}]
    names = [f"{row.job} of {row.tenant} on {row.node or 'no node'}" for row in rows]
    text = f"jobs that do not move: {_listed(names)}" if names else "all jobs that are held move"
    level: Level = "warning" if names else "ok"
    return Finding(name="jobs_still", level=level, text=text, value=len(names), view=3)


def _dead(snapshot: FleetSnapshot, limits: Limits) -> Finding:
    count = queue_totals(snapshot).dead
    if count is None:
        level: Level = "unknown" if snapshot.queues else "ok"
        return Finding(name="dead_letters", level=level, text="dead letters not counted", view=2)
    level = "ok"
    if count >= limits.dead_critical:
        level = "critical"
    elif count >= limits.dead_warning:
        level = "warning"
    return Finding(
        name="dead_letters", level=level, text=f"{count} jobs were given up", value=count, view=2
    )


def _late(snapshot: FleetSnapshot, _: Limits) -> Finding:
    names = [f"{r.batch} of {r.tenant}" for r in batch_rows(snapshot, WINDOWS_S[1]) if r.is_late]
    text = f"deadlines at risk: {_listed(names)}" if names else "no deadline is at risk"
    level: Level = "warning" if names else "ok"
    return Finding(name="batches_late", level=level, text=text, value=len(names), view=3)


def _costly(snapshot: FleetSnapshot, _: Limits) -> Finding:
    window_s = WINDOWS_S[1]
    rows = costly(fleet_rows(snapshot, window_s))
    names = [f"{row.node} at {row.usd_per_million:.2f} USD a million tokens" for row in rows]
    text = (
        f"costly over {window_name(window_s)}: {_listed(names)}" if names else "no node is costly"
    )
    level: Level = "warning" if names else "ok"
    return Finding(name="nodes_costly", level=level, text=text, value=len(names), view=4)


def _listed(names: list[str]) -> str:
    return ", ".join(_first(names))


def _first(names: list[str]) -> Iterator[str]:
    yield from names[:_NAMED]
    if len(names) > _NAMED:
        yield f"{len(names) - _NAMED} more"
