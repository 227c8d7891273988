"""A fleet in one line, and its past in small pictures. Pure."""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from dashboard.findings import Finding, alarms
from dashboard.model import FleetTotals, fleet_rows, totals
from dashboard.queue_rows import QueueTotals, queue_totals
from dashboard.snapshot import FleetSnapshot, Moment, Part

Measure: TypeAlias = Literal[
    "nodes", "items", "waiting", "in_flight", "tokens_per_s", "usd_per_hour"
]
# What every view rests on; the age of the oldest of them is the age of the data.
_BASE: Final[tuple[Part, ...]] = ("nodes", "queues")


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet in one line. age_s: of the data behind it; None where there is none yet.

    alarms: what deserves a look, worst first.
    """

    fleet: FleetTotals
    queues: QueueTotals
    age_s: float | None
    connected: bool
    alarms: tuple[Finding, ...]


def overview(snapshot: FleetSnapshot, window_s: float) -> Overview:
    """Sum a snapshot up."""
    return Overview(
        fleet=totals(fleet_rows(snapshot, window_s)),
        queues=queue_totals(snapshot),
        age_s=age_s(snapshot, _BASE),
        connected=snapshot.connected,
        alarms=tuple(alarms(snapshot)),
    )


def age_s(snapshot: FleetSnapshot, parts: Sequence[Part] = _BASE) -> float | None:
    """Say how old the oldest of some parts is; None where one was never read."""
    ages = [snapshot.at - snapshot.read_at[part] for part in parts if part in snapshot.read_at]
    return max(0.0, *ages) if ages and len(ages) == len(parts) else None


def trend(snapshot: FleetSnapshot, measure: Measure, window_s: float) -> list[float | None]:
    """Give a measure over the window, oldest first; None for moments at which it was not known."""
    return [_value(moment, measure) for moment in snapshot.history.over(window_s)]


def percentile(values: Sequence[float], share: float) -> float | None:
    """Give the value below which `share` (0 to 1) of all values lie; None without any.

    Over several queues or nodes it is that of all their values together: percentiles of parts
    cannot be averaged.
    """
    if not values:
        return None
    order = sorted(values)
    return order[min(len(order) - 1, int(share * len(order)))]


def _value(moment: Moment, measure: Measure) -> float | None:
    value: float | None = getattr(moment, measure)
    return value
