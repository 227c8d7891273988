"""How many nodes the batches need: the least rate that meets every deadline, and what covers it."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from fleet.pool.knobs import Tuning
from fleet.pool.snapshot import Snapshot, Work

# A deadline nearer than this many start-ups is met by what is ready, or not at all.
TOO_CLOSE: Final = 1.5
# The least time, in start-ups, that a node which is launched now is planned to work.
LEAST_LEFT: Final = 0.5
# More than any work there is, and still a number that can be reckoned with.
MOST_ITEMS: Final = 10**12
MOST_S: Final = 1e15
# Work without a deadline, or behind it, is spread over no less than this.
LEAST_UNHURRIED_S: Final = 3600.0


class Due(NamedTuple):
    """A batch in the order of service. ahead_s: node-seconds until it is done, its own included.

    deadline: infinite where there is none. left_s: what of the time until it new nodes could work.
    rate: nodes that it needs, with all that is served before it. close: it is too late for new
    nodes.
    """

    name: str
    deadline: float
    ahead_s: float
    left_s: float
    rate: float
    close: bool


class Demand(NamedTuple):
    """What the batches ask for, in nodes. work_s: node-seconds in all, but for those of late ones.

    required: r, of all deadlines for which nodes can still be launched. keep: of those for which
    they cannot. unhurried: of work that has no deadline. due: what still has its time, in the order
    of service. late: what has not: its jobs expire, by whoever looks at them, and need no node.
    """

    required: float
    keep: float
    unhurried: float
    work_s: float
    due: Sequence[Due]
    late: Sequence[str]
    unmeasured: Sequence[Work]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return self.work_s <= 0 and not self.unmeasured


Sized: TypeAlias = tuple[float, float, Work]


def demand(snapshot: Snapshot, *, startup_s: float, item_s: float | None, tuning: Tuning) -> Demand:
    """Add the work up in the order in which it is served, and hold it against the deadlines."""
    now = snapshot.now
    required = keep = unhurried = ahead_s = 0.0
    due: list[Due] = []
    sized, unmeasured, late = _sized(snapshot, item_s)
    for deadline, size_s, work in sized:
        to_go_s = deadline - now
        ahead_s += size_s
        if deadline == math.inf:
            since_s = max(0.0, now - work.submitted_at)
            unhurried += size_s / max(tuning.unhurried_s - since_s, LEAST_UNHURRIED_S)
            due.append(Due(work.name, deadline, ahead_s, math.inf, 0.0, close=False))
            continue
        close = to_go_s < TOO_CLOSE * startup_s
        left_s = to_go_s if close else _left_s(to_go_s, startup_s, tuning.margin)
        rate = ahead_s / left_s
        if close:
            keep = max(keep, rate)
        else:
            required = max(required, rate)
        due.append(Due(work.name, deadline, ahead_s, left_s, rate, close=close))
    return Demand(required, keep, unhurried, ahead_s, due, late, unmeasured)


def _sized(snapshot: Snapshot, item_s: float | None) -> tuple[list[Sized], list[Work], list[str]]:
    """Measure each batch in node-seconds, in the order of service.

    Apart from them, those that cannot be measured yet, and the names of those that are late.
    """
    sized: list[Sized] = []
    unmeasured: list[Work] = []
    late: list[str] = []
    for work in snapshot.work or ():
        if work.items <= 0:
            continue
        pace_s = work.item_s if is_sane(work.item_s) else item_s
        deadline = work.deadline
        if deadline is None or not math.isfinite(deadline):
            deadline = math.inf
        if deadline <= snapshot.now:
            late.append(work.name)
        elif pace_s is None:
            unmeasured.append(work)
        else:
            sized.append((deadline, min(min(work.items, MOST_ITEMS) * pace_s, MOST_S), work))
    if snapshot.order == "arrival":
        sized.sort(key=lambda one: one[2].submitted_at)
    else:
        sized.sort(key=lambda one: one[0])
    return sized, unmeasured, late


def _left_s(to_go_s: float, startup_s: float, margin: float) -> float:
    return max(to_go_s - margin * startup_s, LEAST_LEFT * startup_s, 1.0)


def last_call(
    due: Sequence[Due], *, ready_spot: int, most_on_demand: int, tuning: Tuning
) -> tuple[float, str]:
    """Return what the closest deadlines need beyond the spot that is ready, and the batch.

    Spot that usually is there is no help against a deadline that is too near to wait for it: from
    when a burst of on-demand nodes, as large as can be hoped for, is only just enough.
    """
    burst = burst_of(most_on_demand, tuning)
    most, batch = 0.0, ""
    for one in due:
        more = one.rate - ready_spot
        if more > most and not one.close and is_last_call(one, burst, tuning):
            most, batch = more, one.name
    return most, batch


def burst_of(most_on_demand: int, tuning: Tuning) -> float:
    """Say how many on-demand nodes can be hoped for, late.

    One at least: where none may be bought, those for real-time can stand in.
    """
    return max(tuning.burst * most_on_demand, 1.0)


def is_last_call(one: Due, burst: float, tuning: Tuning) -> bool:
    """Whether this deadline is so near that only what is ready counts."""
    return one.close or one.left_s < tuning.usual_s / 2 + one.ahead_s / burst


def last_call_at(one: Due, *, margin_s: float, burst: float, tuning: Tuning) -> float:
    """Say from when on it will be, if nothing of the work is done until then."""
    return one.deadline - margin_s - tuning.usual_s / 2 - one.ahead_s / burst


def is_sane(value: float | None) -> bool:
    """Whether a measure or a price can be reckoned with."""
    return value is not None and math.isfinite(value) and value > 0
