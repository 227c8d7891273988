"""What spot machines cost now, as the market itself says. A price that makes no sense is none."""

import math
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Final

import msgspec

from fleet.pool.ec2_api import Ec2Api
from fleet.pool.market import SpotHistory, SpotPrice
from fleet.pool.provider import Fault

__all__ = ["MOST_USD", "SpotHistory", "SpotMarket", "SpotPrice"]

LINUX: Final = "Linux/UNIX"
_PAGE: Final = 1000
# Some feeds say 700 for "not known", and nothing that one rents costs so much.
MOST_USD: Final = 500.0


class _Row(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    availability_zone: str
    instance_type: str
    spot_price: str
    timestamp: datetime


class _Page(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    spot_price_history: tuple[_Row, ...]


class _Pages(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    pages: tuple[_Page, ...]


class SpotMarket:
    """Reads EC2's price history."""

    def __init__(self, api: Ec2Api, *, now: Callable[[], float] = time.time) -> None:
        self._api = api
        self._now = now

    async def history(
        self,
        instance_types: Collection[str],
        zones: Collection[str] = (),
        *,
        back_s: float = 0.0,
    ) -> SpotHistory | Fault:
        """Return the prices that were in force in the last `back_s` seconds; 0 for those of now.

        zones: by name; none for all of the region. A fault says that nothing is known.
        """
        start = datetime.fromtimestamp(self._now() - back_s, UTC)
        said = {
            "InstanceTypes": sorted(instance_types),
            "ProductDescriptions": [LINUX],
            "StartTime": start,
            "PaginationConfig": {"PageSize": _PAGE},
        }
        answer = await self._api.call(
            lambda ec2: {
                "Pages": [*ec2.get_paginator("describe_spot_price_history").paginate(**said)]
            },
            _Pages,
        )
        if isinstance(answer, Fault):
            return answer
        rows = [
            row
            for page in answer.pages
            for row in page.spot_price_history
            if not zones or row.availability_zone in zones
        ]
        prices = [price for row in rows if (price := self._price(row)) is not None]
        return SpotHistory(
            prices=tuple(sorted(prices, key=lambda price: price.at)),
            dropped=len(rows) - len(prices),
        )

    def _price(self, row: _Row) -> SpotPrice | None:
        try:
            usd = float(row.spot_price)
        except ValueError:
            return None
        at = row.timestamp.timestamp()
        if not (math.isfinite(usd) and 0 < usd <= MOST_USD) or at > self._now() + 3600:
            return None
        return SpotPrice(
            zone=row.availability_zone, instance_type=row.instance_type, usd_per_hour=usd, at=at
        )
