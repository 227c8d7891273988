"""What a node of a pool costs in each zone, from a price book and from the market itself."""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Protocol

from fleet.pool.provider import Fault
from fleet.pool.snapshot import Price
from fleet.pool.spot_prices import SpotHistory
from fleet.prices import PriceBook, Series

# Spot prices move by the hour; each look costs a call or some.
REFRESH_S: Final = 300.0

log = logging.getLogger(__name__)


class Quotes(Protocol):
    """Knows prices, or says of a zone that it does not by leaving it unpriced."""

    async def of(self, zones: Collection[str]) -> Mapping[str, Price]:
        """Return the prices of now, for each of the zones."""
        ...


class FlatQuotes:
    """The same price everywhere, as somebody named it."""

    def __init__(self, *, spot_usd: float | None, on_demand_usd: float | None) -> None:
        self._price = Price(spot_usd=spot_usd, on_demand_usd=on_demand_usd)

    async def of(self, zones: Collection[str]) -> Mapping[str, Price]:
        """Return the one price for each zone."""
        return dict.fromkeys(zones, self._price)


class Market(Protocol):
    """Says what spot machines cost now."""

    async def history(
        self, instance_types: Collection[str], zones: Collection[str] = ()
    ) -> SpotHistory | Fault:
        """Return the prices that are in force."""
        ...


class BookQuotes:
    """The prices of a book, and of a market where there is one that answers.

    instance_types: any of these may be launched, so the dearest of them is planned with.
    """

    def __init__(
        self,
        book: PriceBook,
        instance_types: Sequence[str],
        market: Market | None = None,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book = book
        self._types = tuple(instance_types)
        self._market = market
        self._now = now
        self._clock = clock
        self._asked_at: float | None = None

    async def of(self, zones: Collection[str]) -> Mapping[str, Price]:
        """Return the prices of each zone; the market is asked now and then."""
        if self._market is not None and self._is_due():
            await self._ask(self._market, zones)
        return {zone: self._price(zone) for zone in zones}

    def _is_due(self) -> bool:
        return self._asked_at is None or self._clock() - self._asked_at >= REFRESH_S

    async def _ask(self, market: Market, zones: Collection[str]) -> None:
        self._asked_at = self._clock()
        answer = await market.history(self._types, zones)
        if isinstance(answer, Fault):
            log.warning("spot prices not read", extra={"error": answer.text})
        else:
            self._book = self._book.with_spot(answer.current(), now=self._now())

    def _price(self, zone: str) -> Price:
        spot = [one for one in (self._book.series(t, zone, "spot") for t in self._types) if one]
        on_demand = [
            one for one in (self._book.series(t, zone, "on-demand") for t in self._types) if one
        ]
        return Price(
            spot_usd=self._dearest(spot),
            on_demand_usd=self._dearest(on_demand),
            at=min((one.confirmed_at for one in spot), default=None),
        )

    def _dearest(self, series: Sequence[Series]) -> float | None:
        return max((one.at(self._now()) for one in series), default=None)
