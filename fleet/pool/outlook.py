"""Why is it waiting? What a decision means for one batch. Pure."""

import math
from typing import Final

from fleet.pool.decision import Code, Decision, Outlook, Reason
from fleet.pool.knobs import Knobs
from fleet.pool.policy_batch import Demand, Due, burst_of, demand, is_last_call, last_call_at
from fleet.pool.snapshot import Snapshot, Work

# What keeps every batch of a pool waiting, in the order in which it is to be told.
CONCERN_ALL: Final[tuple[Code, ...]] = (
    "paused",
    "clock_jump",
    "data_missing",
    "crash_loop",
    "quota",
    "throttled",
    "no_spot",
    "price_over_ceiling",
    "price_unknown",
    "out_of_stock",
    "budget",
    "most_on_demand",
    "most_spot",
    "launch_cap",
)


def outlook(snapshot: Snapshot, knobs: Knobs, decision: Decision, batch: str) -> Outlook | None:
    """Say how a batch stands, by the decision on this snapshot; None for one without open items.

    batch: `<tenant>.<batch>`, as in the snapshot's work.
    """
    work = next((one for one in snapshot.work or () if one.name == batch and one.items > 0), None)
    if work is None:
        return None
    startup_s = decision.figures.startup_s or knobs.tuning.startup_s
    asked = demand(
        snapshot, startup_s=startup_s, item_s=decision.memory.item_s, tuning=knobs.tuning
    )
    due = next((one for one in asked.due if one.name == batch), None)
    reasons = [one for one in decision.reasons if one.code in CONCERN_ALL]
    reasons.sort(key=lambda one: CONCERN_ALL.index(one.code))
    if due is None:
        reasons += _unplanned(asked, work, snapshot.now)
    else:
        reasons += _standing(snapshot, knobs, decision, due)
    return Outlook(
        batch=batch,
        deadline=work.deadline,
        eta=None if due is None else _eta(snapshot, decision, due.ahead_s, startup_s),
        latest_switch=None if due is None else _latest_switch(knobs, decision, due, startup_s),
        ahead_h=None if due is None else due.ahead_s / 3600,
        reasons=tuple(reasons),
    )


def _eta(snapshot: Snapshot, decision: Decision, ahead_s: float, startup_s: float) -> float | None:
    """Go on with the nodes that work now, and from a start-up on with those that are expected."""
    now_on = _working(snapshot, decision)
    figures = decision.figures
    expected = max(figures.held_spot, figures.credit) + decision.fallback
    later_on = max(now_on, expected)
    if now_on * startup_s >= ahead_s:
        return snapshot.now + ahead_s / now_on
    if later_on <= 0:
        return None
    return snapshot.now + startup_s + (ahead_s - now_on * startup_s) / later_on


def _working(snapshot: Snapshot, decision: Decision) -> float:
    """Count the nodes' worth of capacity that batches have at this moment."""
    figures = decision.figures
    if not decision.batch_fallback:
        return figures.ready_spot
    spare = snapshot.load.spare if snapshot.load else 0.0
    return figures.ready_spot + max(0, figures.ready_on_demand - decision.realtime) + spare


def _latest_switch(knobs: Knobs, decision: Decision, due: Due, startup_s: float) -> float | None:
    most = decision.figures.most_on_demand
    if not math.isfinite(due.deadline) or most <= 0:
        return None
    return due.deadline - knobs.tuning.margin * startup_s - due.ahead_s / most


def _unplanned(asked: Demand, work: Work, now: float) -> list[Reason]:
    if work.name in asked.late and work.deadline is not None:
        text = f"its deadline passed {_span(now - work.deadline)} ago: its open items expire"
        return [Reason(code="late", text=text)]
    text = "no item has been measured yet, so nobody can say how long it takes"
    return [Reason(code="pace_unknown", text=text)]


def _standing(snapshot: Snapshot, knobs: Knobs, decision: Decision, due: Due) -> list[Reason]:
    figures, found = decision.figures, list[Reason]()
    if _working(snapshot, decision) <= 0 and figures.held_spot + figures.held_on_demand > 0:
        starting = figures.held_spot + figures.held_on_demand
        text = f"{starting} nodes start, which takes up to {_span(figures.startup_s)}"
        found.append(Reason(code="cold_start", text=text))
    for risk in decision.at_risk:
        if risk.batch == due.name:
            late = "no node works" if risk.late_s is None else f"{_span(risk.late_s)} late"
            text = f"its deadline is at risk: {risk.short_by:.2f} nodes too few, {late}"
            found.append(Reason(code=risk.why, text=text))
    if math.isfinite(due.deadline):
        found.append(_pressing(snapshot, knobs, decision, due))
    else:
        text = "it has no deadline: it waits for spot, and gets no on-demand node"
        found.append(Reason(code="not_pressing", text=text))
    return found


def _pressing(snapshot: Snapshot, knobs: Knobs, decision: Decision, due: Due) -> Reason:
    figures, tuning = decision.figures, knobs.tuning
    burst = burst_of(figures.most_on_demand, tuning)
    to_go = _span(due.deadline - snapshot.now)
    if is_last_call(due, burst, tuning):
        text = (
            f"its deadline is in {to_go} and needs {due.rate:.2f} nodes: only the "
            f"{figures.ready_spot} spot nodes that are ready count, O = {decision.fallback}"
        )
        return Reason(code="last_call", text=text)
    at = last_call_at(due, margin_s=tuning.margin * figures.startup_s, burst=burst, tuning=tuning)
    text = (
        f"its deadline is in {to_go} and needs {due.rate:.2f} nodes, spot counts for "
        f"K = {figures.credit:.2f}, O = {decision.fallback}: the usual spot is waited for until "
        f"{_span(at - snapshot.now)} from now at the latest"
    )
    code: Code = "deficit" if due.rate > figures.credit else "not_pressing"
    return Reason(code=code, text=text)


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
