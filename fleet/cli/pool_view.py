"""How a pool stands, for people."""

import time

import msgspec

from fleet.cli.table import aligned
from fleet.cli.times import length
from fleet.pool.decision import Decision
from fleet.pool.snapshot import Zone
from fleet.pool.switches import SILENT_S, Paused, Standing
from fleet.subjects import plain

HEAD = ("ZONE", "SPOT", "READY", "IDLE", "LEAVING", "ON-DEMAND", "READY", "SPOT USD/H", "USD/H")


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What `fleet pool status` tells. leader: who acts now; None where nobody does.

    silent_s: since the manager told last.
    """

    leader: str | None
    silent_s: float
    paused: Paused | None
    standing: Standing


def status_lines(shown: Shown) -> list[str]:
    """Write the status."""
    standing, decision = shown.standing, shown.standing.decision
    figures, knobs = decision.figures, standing.knobs
    spend = "-" if figures.spend_usd_per_h is None else f"{figures.spend_usd_per_h:.2f}"
    budget = "" if knobs.budget_usd_per_h is None else f" of {knobs.budget_usd_per_h:.2f}"
    seen = f"as {plain(standing.by)} saw it {length(shown.silent_s)} ago"
    wanted = f"{decision.realtime} for real-time and {decision.fallback} for batches"
    work = f"{figures.work_h:.2f} node-hours in {standing.open_batches} batches"
    lines = [
        *_doubts(shown),
        f"pool {plain(standing.model)} ({standing.provider}), {seen}",
        f"  spot: {figures.held_spot} held, {decision.spot} wanted, at most {knobs.most_spot}",
        f"  on-demand: {figures.held_on_demand} held, wanted {wanted}",
        f"  batches on on-demand: {'yes' if decision.batch_fallback else 'no'}",
        f"  work: {work}, {figures.required:.2f} nodes required",
        f"  spends {spend}{budget} USD/h",
    ]
    lines += [f"  at risk: {_risk(decision, standing)}"] if standing.at_risk else []
    if standing.zones:
        lines.append(aligned([HEAD, *map(_row, standing.zones)]))
    return lines


def explanation(shown: Shown) -> list[str]:
    """Write the reasons of the last decision."""
    decision = shown.standing.decision
    lines = _doubts(shown)
    lines += [f"{one.code}: {plain(one.text)}" for one in decision.reasons]
    for launch in decision.launches:
        lines.append(
            f"launch {launch.count} {launch.capacity_type} in {plain(launch.zone)}: "
            f"{plain(launch.why)}"
        )
    for release in decision.releases:
        lines.append(
            f"give back {release.count} {release.capacity_type} in {plain(release.zone)}: "
            f"{plain(release.why)}"
        )
    at = shown.standing.at
    for one in decision.memory.cooling:
        left_s = one.since + one.for_s - at
        if left_s > 0:
            where = plain(one.zone) or "every zone"
            lines.append(f"cooling: {where} ({one.capacity_type}, {one.why}) for {length(left_s)}")
    lines += [
        f"at risk: {plain(one.batch)}, {one.short_by:.2f} nodes too few, "
        + ("no node works" if one.late_s is None else f"{length(one.late_s)} late")
        for one in decision.at_risk
    ]
    if (call := decision.figures.last_call_at) is not None:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(call))
        lines.append(f"spot is waited for until {when}, then only what is ready counts")
    return lines


def _doubts(shown: Shown) -> list[str]:
    """Say why what follows may be old or without effect."""
    lines = []
    if shown.leader is None:
        lines.append("NO MANAGER LEADS: nothing is launched or given back; `fleet pool run`")
    elif shown.silent_s > SILENT_S:
        lines.append(f"SILENT: {plain(shown.leader)} leads and says nothing; see its log")
    if shown.paused is not None:
        why = f": {plain(shown.paused.why)}" if shown.paused.why else ""
        lines.append(f"PAUSED by {plain(shown.paused.by)}{why}")
    return lines + [f"trouble: {plain(text)}" for text in shown.standing.troubles]


def _risk(decision: Decision, standing: Standing) -> str:
    names = ", ".join(plain(one.batch) for one in decision.at_risk[:5])
    more = standing.at_risk - min(5, len(decision.at_risk))
    return f"{names} and {more} more" if more > 0 else names


def _row(zone: Zone) -> tuple[str, ...]:
    return (
        plain(zone.name) or "-",
        str(zone.spot.held),
        str(zone.spot.ready),
        str(zone.spot.idle),
        str(zone.spot.leaving + zone.on_demand.leaving),
        str(zone.on_demand.held),
        str(zone.on_demand.ready),
        "-" if zone.spot_usd is None else f"{zone.spot_usd:.2f}",
        "-" if zone.on_demand_usd is None else f"{zone.on_demand_usd:.2f}",
    )
