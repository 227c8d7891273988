"""A market: how many spot nodes each zone would have given, tick by tick, and at what price."""

import math
from typing import Final

import msgspec

HOUR_S: Final = 3600.0


class ZoneTrace(msgspec.Struct, frozen=True, kw_only=True):
    """One zone. counts: spot nodes to be had at each tick, those that are held included.

    spot_usd: price of a node-hour at each tick, or a single one for all. on_demand_usd: the same
    node without interruptions.
    """

    zone: str
    counts: tuple[int, ...]
    spot_usd: tuple[float, ...]
    on_demand_usd: float

    def price(self, tick: int) -> float:
        """Return the spot price at a tick."""
        return self.spot_usd[min(tick, len(self.spot_usd) - 1)]


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """All zones, of equal length. gap_s: length of a tick. notes: what a reader should know."""

    name: str
    gap_s: float
    zones: tuple[ZoneTrace, ...]
    notes: tuple[str, ...] = ()

    @property
    def ticks(self) -> int:
        """How many ticks there are."""
        return len(self.zones[0].counts)

    @property
    def horizon_s(self) -> float:
        """Return how long the market is open."""
        return self.ticks * self.gap_s

    @property
    def on_demand_usd(self) -> float:
        """The cheapest on-demand node-hour: what all costs are held against."""
        return min(zone.on_demand_usd for zone in self.zones)


def scaled(market: Market, factor: int) -> Market:
    """Multiply every count: a recording of one node tells whether, not how many."""
    if factor == 1:
        return market
    zones = tuple(
        msgspec.structs.replace(zone, counts=tuple(count * factor for count in zone.counts))
        for zone in market.zones
    )
    note = f"counts are multiplied by {factor}: nodes of a zone come and go together"
    return msgspec.structs.replace(market, zones=zones, notes=(*market.notes, note))


def factor_for(market: Market, most_spot: int) -> int:
    """Return the least factor at which all zones at their best hold twice the most spot wanted.

    Recordings of a few nodes would otherwise say that a large fleet finds no spot anywhere.
    """
    best = sum(max(zone.counts) for zone in market.zones)
    return max(1, math.ceil(2 * most_spot / best)) if best else 1


def cut(market: Market, *, from_s: float = 0.0, for_s: float | None = None) -> Market:
    """Keep a part of a market, from `from_s` on, for `for_s` seconds or to its end."""
    first = min(int(from_s / market.gap_s), market.ticks - 1)
    last = market.ticks
    if for_s is not None:
        last = min(last, first + max(1, int(for_s / market.gap_s)))
    zones = tuple(
        msgspec.structs.replace(
            zone,
            counts=zone.counts[first:last],
            spot_usd=zone.spot_usd[first:last] if len(zone.spot_usd) > 1 else zone.spot_usd,
        )
        for zone in market.zones
    )
    return msgspec.structs.replace(market, zones=zones)
