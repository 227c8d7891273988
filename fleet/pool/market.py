"""What a market says that its spot machines cost. Pure."""

import msgspec


class SpotPrice(msgspec.Struct, frozen=True, kw_only=True):
    """One price of the market's. at: when it came into force, seconds since the epoch."""

    zone: str
    instance_type: str
    usd_per_hour: float
    at: float


class SpotHistory(msgspec.Struct, frozen=True, kw_only=True):
    """Prices in the order of their times. dropped: how many were no prices."""

    prices: tuple[SpotPrice, ...] = ()
    dropped: int = 0

    def current(self) -> tuple[SpotPrice, ...]:
        """Return the last price of each type and zone."""
        last = {(one.instance_type, one.zone): one for one in self.prices}
        return tuple(last[key] for key in sorted(last))
