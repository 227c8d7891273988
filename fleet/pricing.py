"""Which price counts for a node: what it was told itself, and else what the book says."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from fleet.job import CapacityType
from fleet.ledger import Account
from fleet.lives import Life
from fleet.prices import PriceBook, Series, flat
from fleet.subjects import plain


class Pricing:
    """Prices lives. lives: all of them, for one may tell what another one would have cost."""

    def __init__(self, book: PriceBook, lives: Iterable[Life]) -> None:
        self._book = book
        self._told: dict[str, float] = {}
        for life in lives:
            if life.capacity_type == "on-demand" and life.price_usd_per_hour is not None:
                dearest = max(life.price_usd_per_hour, self._told.get(life.model, 0.0))
                self._told[life.model] = dearest
        self._series: dict[tuple[str, str, CapacityType], Series | None] = {}

    def paid(self, life: Life) -> Series | None:
        """Return what the node cost; None for one whose price nobody knows."""
        if life.price_usd_per_hour is not None:
            return flat(life.price_usd_per_hour, life.capacity_type, at=life.start)
        return self._of(life, life.capacity_type)

    def on_demand(self, life: Life) -> Series | None:
        """Return what such a node costs on on-demand.

        The book's price of its instance type; else what an on-demand node of its model told.
        """
        found = self._of(life, "on-demand")
        told = self._told.get(life.model)
        if found is not None or told is None:
            return found
        return flat(told, "on-demand", at=life.start)

    def doubts(self, accounts: Sequence[Account]) -> Iterator[str]:
        """Say, for people, which prices are missing or old."""
        zones: dict[tuple[str, CapacityType, str], list[str]] = {}
        for life in (account.life for account in accounts):
            if life.price_usd_per_hour is None and (doubt := self._doubt(life)):
                seen = zones.setdefault((life.instance_type, life.capacity_type, doubt), [])
                if life.zone not in seen:
                    seen.append(life.zone)
        for (instance_type, capacity_type, doubt), where in sorted(zones.items()):
            what = plain(instance_type) or "nodes of no instance type"
            names = ", ".join(plain(zone) or "no zone" for zone in sorted(where))
            yield f"{what}, {capacity_type}, in {names}: {doubt}"

    def _doubt(self, life: Life) -> str:
        series = self._of(life, life.capacity_type)
        if series is None:
            return (
                "no price is known, and their hours are not in the bill: add it to the file of "
                "--prices, or start them with --price"
            )
        if not series.is_stale(life.end):
            return ""
        confirmed = datetime.fromtimestamp(series.confirmed_at, UTC).date()
        return f"the price is of {confirmed}, long before its use"

    @property
    def uses_book(self) -> bool:
        """Whether any price came from the book."""
        return any(series is not None for series in self._series.values())

    def _of(self, life: Life, capacity_type: CapacityType) -> Series | None:
        key = (life.instance_type, life.zone, capacity_type)
        if key not in self._series:
            self._series[key] = self._book.series(*key) if life.instance_type else None
        return self._series[key]
