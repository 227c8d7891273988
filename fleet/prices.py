"""What machines cost: a price book with dates, by instance type, zone, capacity type and time."""

import tomllib
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Final, Protocol, Self, TypeAlias

import msgspec

from fleet.errors import UsageError
from fleet.job import CapacityType
from fleet.subjects import plain

DAY_S: Final = 86_400.0
# Feeds say 700 for "not known", and nothing that one rents costs so much.
Usd: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=500)]
Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
# Spot prices move by the day, list prices by the year: when to say that they are old.
STALE_AFTER_S: Final[dict[CapacityType, float]] = {"spot": 7 * DAY_S, "on-demand": 180 * DAY_S}
_Key: TypeAlias = tuple[str, CapacityType, str]


class Listed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One price. zone: or the beginning of its name, such as a region; empty for all zones.

    since: when it came into force; None for always.
    """

    instance_type: Name
    capacity_type: CapacityType
    usd_per_hour: Usd
    zone: Annotated[str, msgspec.Meta(max_length=64)] = ""
    since: datetime | None = None


class PriceFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price book as it is written down. dated: when its prices were last known to hold."""

    dated: date
    source: str = ""
    price: tuple[Listed, ...]


class Series:
    """The prices of one kind of machine over time, each in force until the next.

    Before the first of them, the first counts. confirmed_at: when the last was known to hold.
    """

    def __init__(
        self,
        prices: Iterable[tuple[float, float]],
        *,
        capacity_type: CapacityType,
        confirmed_at: float,
    ) -> None:
        steps = sorted(prices)
        self._since = [at for at, _ in steps]
        self._usd = [usd for _, usd in steps]
        self.capacity_type = capacity_type
        self.confirmed_at = max(confirmed_at, self._since[-1])

    def at(self, at: float) -> float:
        """Return the price of an hour, in USD."""
        return self._usd[max(0, bisect_right(self._since, at) - 1)]

    def cost(self, start: float, end: float) -> float:
        """Return what a machine costs from `start` to `end`, in USD; 0 for an empty span."""
        usd = 0.0
        while start < end:
            step = bisect_right(self._since, start)
            until = min(end, self._since[step]) if step < len(self._since) else end
            usd += (until - start) * self._usd[max(0, step - 1)] / 3600
            start = until
        return usd

    def is_stale(self, at: float) -> bool:
        """Tell whether the last price was confirmed too long before `at` to be believed."""
        return at - self.confirmed_at > STALE_AFTER_S[self.capacity_type]


class Quote(Protocol):
    """A spot price of the market's. at: when it came into force, seconds since the epoch."""

    @property
    def zone(self) -> str: ...
    @property
    def instance_type(self) -> str: ...
    @property
    def usd_per_hour(self) -> float: ...
    @property
    def at(self) -> float: ...


class PriceBook:
    """Knows prices. dated: seconds since the epoch, when its file was known to hold."""

    def __init__(
        self,
        prices: Mapping[_Key, Mapping[float, float]],
        *,
        dated: float,
        source: str = "",
        confirmed: Mapping[_Key, float] | None = None,
    ) -> None:
        self.dated = dated
        self.source = source
        self._prices = prices
        self._confirmed = confirmed or {}

    @classmethod
    def of(cls, file: PriceFile) -> Self:
        """Make a book of a file. Raises UsageError for two prices of one thing at one time."""
        dated = datetime(file.dated.year, file.dated.month, file.dated.day, tzinfo=UTC).timestamp()
        prices: dict[_Key, dict[float, float]] = {}
        for one in file.price:
            since = 0.0 if one.since is None else _utc(one.since)
            steps = prices.setdefault((one.instance_type, one.capacity_type, one.zone), {})
            if steps.setdefault(since, one.usd_per_hour) != one.usd_per_hour:
                raise UsageError(
                    f"price book: two prices of {plain(one.instance_type)} ({one.capacity_type}) "
                    f"in zone {plain(one.zone) or 'any'} hold at the same time: remove one, or "
                    "give each its `since`"
                )
        return cls(prices, dated=dated, source=file.source)

    def with_spot(self, quotes: Iterable[Quote], *, now: float) -> Self:
        """Return a book that knows what the market says, too. now: when it said so.

        From the first price that the market tells of a machine on, it alone counts.
        """
        told: dict[_Key, dict[float, float]] = {}
        for one in quotes:
            key: _Key = (one.instance_type, "spot", one.zone)
            told.setdefault(key, {})[one.at] = one.usd_per_hour
        prices = dict(self._prices)
        for key, steps in told.items():
            before = {
                since: usd for since, usd in prices.get(key, {}).items() if since < min(steps)
            }
            prices[key] = before | steps
        confirmed = {**self._confirmed, **dict.fromkeys(told, now)}
        return type(self)(prices, dated=self.dated, source=self.source, confirmed=confirmed)

    def series(self, instance_type: str, zone: str, capacity_type: CapacityType) -> Series | None:
        """Return the prices of one kind of machine; those of the zone before those of its region.

        None for what the book does not know.
        """
        for length in range(len(zone), -1, -1):
            key: _Key = (instance_type, capacity_type, zone[:length])
            if steps := self._prices.get(key):
                return Series(
                    steps.items(),
                    capacity_type=capacity_type,
                    confirmed_at=self._confirmed.get(key, self.dated),
                )
        return None


def flat(usd_per_hour: float, capacity_type: CapacityType, *, at: float) -> Series:
    """Make the series of a price that somebody named, and that holds as long as nobody objects."""
    return Series([(at, usd_per_hour)], capacity_type=capacity_type, confirmed_at=float("inf"))


def read_book(text: str, *, name: str) -> PriceBook:
    """Read a price book in TOML, or in JSON where its name ends so. Raises UsageError."""
    try:
        if name.endswith(".json"):
            return PriceBook.of(msgspec.json.decode(text, type=PriceFile))
        return PriceBook.of(msgspec.convert(tomllib.loads(text), PriceFile))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"price book {plain(name)}: {plain(str(error))}") from error


def _utc(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
