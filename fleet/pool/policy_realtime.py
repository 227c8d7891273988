"""How many on-demand nodes real-time work gets: from the baseline to twice as many, by load."""

import math
from typing import Final, NamedTuple

from fleet.pool.decision import Memory, Reason
from fleet.pool.knobs import Knobs
from fleet.pool.snapshot import Load

# A rounding error is no reason for a node.
HAIR: Final = 1e-6
# The pool grows to so many times the baseline.
MOST: Final = 2


class Realtime(NamedTuple):
    """nodes: wanted. lower_since: since when fewer would do, None while they would not."""

    nodes: int
    lower_since: float | None
    reason: Reason | None


def within(nodes: int, knobs: Knobs) -> int:
    """Return the number from the baseline to twice as many that is nearest."""
    return min(max(nodes, knobs.baseline), MOST * knobs.baseline)


def realtime(load: Load | None, knobs: Knobs, memory: Memory, *, now: float) -> Realtime:
    """Follow the load up at once and down after a while; without a load, stay."""
    least, most = knobs.baseline, MOST * knobs.baseline
    if not most:
        return Realtime(0, None, None)
    before = within(memory.realtime or 0, knobs)
    if load is None or not math.isfinite(load.busy):
        text = f"real-time load is not known: {before} nodes are kept"
        return Realtime(before, None, Reason(code="data_missing", text=text))
    planned = knobs.tuning.busy_at
    nodes = within(math.ceil(min(max(0.0, load.busy), most) / planned - HAIR), knobs)
    why = (
        f"real-time keeps {load.busy:.1f} nodes busy, planned at {planned:.0%} each: "
        f"{nodes} of {least} to {most} nodes"
    )
    if nodes >= before:
        return Realtime(nodes, None, Reason(code="realtime", text=why))
    since = now if memory.realtime_lower_since is None else memory.realtime_lower_since
    if now - since < knobs.tuning.hold_s:
        why += f", {before} kept for {knobs.tuning.hold_s - (now - since):.0f} s more"
        return Realtime(before, since, Reason(code="holding", text=why))
    return Realtime(nodes, None, Reason(code="realtime", text=why))
