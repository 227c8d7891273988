"""A fleet's own past as a market: where its spot nodes were to be had, and the work that it did."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from fleet.errors import NotFound
from fleet.events import AnyEvent, UsageRecorded
from fleet.job import Tier
from fleet.lives import Life, lives
from fleet.pool.simulate.arrivals import Arrival
from fleet.pool.simulate.market import HOUR_S, Market, ZoneTrace

GAP_S: Final = 60.0
# Half a year of minutes; a clock that is off by years must not fill the memory.
MOST_TICKS: Final = 263_520
NOTES: Final = (
    "from this fleet's events: spot that it did not hold counts as spot that was not there",
    "a batch comes when its first work was done, for nothing records when it was submitted",
)


class Past(NamedTuple):
    """What a fleet lived through. work: node-seconds of its batches, as they were spent."""

    market: Market
    work: tuple[Arrival, ...]


def recall(events: Iterable[AnyEvent], *, window_s: float, price_ratio: float = 2.5) -> Past:
    """Make a market and work of events, in any order.

    window_s: within which each batch has to be done; one whose window ends behind the last event is
    left out. price_ratio: on-demand price by spot price, where one of both was never paid. Raises
    NotFound where no spot node has lived for long enough to be seen.
    """
    kept = list(events)
    found = [life for life in lives(kept) if _is_sane(life)]
    spot = [life for life in found if life.capacity_type == "spot" and life.end > life.start]
    if not spot:
        raise NotFound("the events tell of no spot node; use --traces, or let the fleet run first")
    begin = min(life.start for life in found)
    ticks = min(MOST_TICKS, max(2, math.ceil((max(life.end for life in found) - begin) / GAP_S)))
    usd = _on_demand_usd(found, price_ratio)
    zones = tuple(
        ZoneTrace(
            zone=zone,
            counts=_counts([life for life in spot if life.zone == zone], begin, ticks),
            spot_usd=(_price(life for life in spot if life.zone == zone) or usd / price_ratio,),
            on_demand_usd=usd,
        )
        for zone in sorted({life.zone for life in spot})
    )
    work, left_out = _work(kept, begin, ticks * GAP_S, window_s)
    notes = list(NOTES)
    if left_out:
        notes.append(f"{left_out} batches are left out: their window ends behind the last event")
    return Past(Market(name="events", gap_s=GAP_S, zones=zones, notes=tuple(notes)), work)


def _is_sane(life: Life) -> bool:
    return math.isfinite(life.start) and math.isfinite(life.end)


def _counts(found: Sequence[Life], begin: float, ticks: int) -> tuple[int, ...]:
    """Count the nodes that lived at the beginning of each tick."""
    change = [0] * (ticks + 1)
    for life in found:
        change[min(ticks, max(0, math.ceil((life.start - begin) / GAP_S)))] += 1
        change[min(ticks, max(0, math.ceil((life.end - begin) / GAP_S)))] -= 1
    counts: list[int] = []
    alive = 0
    for tick in range(ticks):
        alive += change[tick]
        counts.append(alive)
    return tuple(counts)


def _price(found: Iterable[Life]) -> float | None:
    """Return the mean of what was paid; None where nobody said."""
    paid = [life.price_usd_per_hour for life in found]
    known = [usd for usd in paid if usd is not None and math.isfinite(usd) and usd > 0]
    return sum(known) / len(known) if known else None


def _on_demand_usd(found: Sequence[Life], price_ratio: float) -> float:
    paid = _price(life for life in found if life.capacity_type == "on-demand")
    if paid is not None:
        return paid
    spot = _price(life for life in found if life.capacity_type == "spot")
    return 1.0 if spot is None else spot * price_ratio


def _work(
    events: Iterable[AnyEvent], begin: float, horizon_s: float, window_s: float
) -> tuple[tuple[Arrival, ...], int]:
    """Return the batches that fit, and how many do not. Jobs of no batch are one batch an hour."""
    spent: defaultdict[str, float] = defaultdict(float)
    first: dict[str, float] = {}
    for event in events:
        if not isinstance(event, UsageRecorded) or event.tier is not Tier.BATCH:
            continue
        at = event.at - begin
        if not (math.isfinite(at) and 0 < event.engine_s < math.inf):
            continue
        name = f"{event.tenant}.{event.batch or f'hour-{int(at / HOUR_S)}'}"
        spent[name] += event.engine_s
        first[name] = min(first.get(name, math.inf), max(0.0, at - event.engine_s))
    work = [
        Arrival(name=name, at=first[name], deadline=first[name] + window_s, work_s=work_s)
        for name, work_s in spent.items()
    ]
    kept = sorted((one for one in work if one.deadline <= horizon_s), key=lambda one: one.at)
    return tuple(kept), len(work) - len(kept)
