"""What the market says that spot costs, and what it must not make us believe."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber

from fleet.pool.ec2_api import TRIES, Ec2Api, Place
from fleet.pool.market import SpotHistory
from fleet.pool.provider import Fault
from fleet.pool.spot_prices import SpotMarket
from fleet.prices import PriceBook, PriceFile
from tests.contract.worlds import TYPES
from tests.moto import REGION, Moto, ec2_client

NOW = datetime(2026, 11, 25, 22, 0, tzinfo=UTC)


def row(zone: str, usd: str, *, minutes_ago: float = 60.0, type_: str = TYPES[0]) -> dict[str, Any]:
    return {
        "AvailabilityZone": zone,
        "InstanceType": type_,
        "ProductDescription": "Linux/UNIX",
        "SpotPrice": usd,
        "Timestamp": NOW - timedelta(minutes=minutes_ago),
    }


async def ask(
    *pages: list[dict[str, Any]], zones: tuple[str, ...] = (), back_s: float = 0.0
) -> SpotHistory | Fault:
    client = ec2_client()
    market = SpotMarket(
        Ec2Api(Place(region=REGION), client=client, backoff_s=0.001), now=NOW.timestamp
    )
    with Stubber(client) as stub:
        token: dict[str, Any] = {}
        for number, page in enumerate(pages, start=1):
            said = {
                "InstanceTypes": sorted(TYPES),
                "ProductDescriptions": ["Linux/UNIX"],
                "StartTime": NOW - timedelta(seconds=back_s),
                "MaxResults": 1000,
            } | token
            token = {"NextToken": f"page-{number}"} if number < len(pages) else {}
            stub.add_response(
                "describe_spot_price_history", {"SpotPriceHistory": page, **token}, said
            )
        heard = await market.history(TYPES, zones, back_s=back_s)
        stub.assert_no_pending_responses()
    return heard


async def test_prices_of_all_pages_come_in_the_order_of_their_times() -> None:
    heard = await ask(
        [row("a", "0.30", minutes_ago=5), row("b", "0.20", minutes_ago=90)],
        [row("a", "0.25", minutes_ago=50)],
        back_s=7200,
    )
    assert isinstance(heard, SpotHistory)
    assert [one.usd_per_hour for one in heard.prices] == [0.20, 0.25, 0.30]
    assert {(one.zone, one.usd_per_hour) for one in heard.current()} == {("a", 0.30), ("b", 0.20)}


async def test_only_the_zones_that_were_asked_for_come() -> None:
    heard = await ask([row("a", "0.30"), row("b", "0.20")], zones=("b",))
    assert isinstance(heard, SpotHistory)
    assert [one.zone for one in heard.prices] == ["b"]


@pytest.mark.parametrize("usd", ["0", "-1", "nan", "inf", "700.0", "", "cheap", "1e309"])
async def test_a_price_that_makes_no_sense_is_none(usd: str) -> None:
    heard = await ask([row("a", usd), row("b", "0.20")])
    assert isinstance(heard, SpotHistory)
    assert [one.zone for one in heard.prices] == ["b"]
    assert heard.dropped == 1


async def test_a_price_of_tomorrow_is_none() -> None:
    heard = await ask([row("a", "0.20", minutes_ago=-1440)])
    assert isinstance(heard, SpotHistory)
    assert (heard.prices, heard.dropped) == ((), 1)


async def test_no_price_at_all_is_no_fault() -> None:
    assert await ask([]) == SpotHistory()


async def test_a_market_that_does_not_answer_is_a_fault_and_not_free() -> None:
    client = ec2_client()
    with Stubber(client) as stub:
        for _ in range(TRIES):
            stub.add_client_error("describe_spot_price_history", "RequestLimitExceeded", "", 503)
        market = SpotMarket(Ec2Api(Place(region=REGION), client=client, backoff_s=0.001))
        heard = await market.history(TYPES)
    assert isinstance(heard, Fault)
    assert heard.kind == "throttled"


async def test_the_price_book_takes_what_the_market_says() -> None:
    heard = await ask([row("us-east-1a", "0.30"), row("us-east-1a", "0.25", minutes_ago=120)])
    assert isinstance(heard, SpotHistory)
    book = PriceBook.of(PriceFile(dated=NOW.date(), price=()))
    book = book.with_spot(heard.prices, now=NOW.timestamp())
    series = book.series(TYPES[0], "us-east-1a", "spot")
    assert series is not None
    assert series.at(NOW.timestamp()) == 0.30
    assert series.at(NOW.timestamp() - 5400) == 0.25
    assert not series.is_stale(NOW.timestamp())


async def test_moto_tells_a_price_for_every_zone_and_type(moto: Moto) -> None:
    place = Place(region=REGION)
    market = SpotMarket(Ec2Api(place, client=ec2_client(moto.endpoint)))
    heard = await market.history(TYPES[:2], moto.subnets)
    assert isinstance(heard, SpotHistory)
    assert {(one.zone, one.instance_type) for one in heard.current()} == {
        (zone, type_) for zone in moto.subnets for type_ in TYPES[:2]
    }
