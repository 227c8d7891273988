"""The price book: which price holds for what, where and when."""

from importlib.resources import files
from typing import Any

import msgspec
import pytest

from fleet.errors import UsageError
from fleet.prices import DAY_S, PriceBook, PriceFile, Series, flat, read_book

HOUR = 3600.0
HEAD = "dated = 2027-01-15\n"
DATED = 1_799_971_200.0


def book(*prices: dict[str, Any]) -> PriceBook:
    return PriceBook.of(msgspec.convert({"dated": "2027-01-15", "price": prices}, PriceFile))


def spot(usd: float, **more: Any) -> dict[str, Any]:
    return {"instance_type": "t", "capacity_type": "spot", "usd_per_hour": usd, **more}


class Market(msgspec.Struct, frozen=True):
    zone: str
    instance_type: str
    usd_per_hour: float
    at: float


def at(found: Series | None, moment: float = 0.0) -> float | None:
    return None if found is None else found.at(moment)


def test_a_zone_counts_before_its_region_and_that_before_all() -> None:
    prices = book(spot(3), spot(2, zone="us-east-2"), spot(1, zone="us-east-2b"))
    zones = ["us-east-2b", "us-east-2a", "eu-west-1a", ""]
    assert [at(prices.series("t", zone, "spot")) for zone in zones] == [1, 2, 3, 3]


def test_what_the_book_does_not_know_has_no_price() -> None:
    prices = book(spot(2, zone="a"))
    assert prices.series("t", "b", "spot") is None
    assert prices.series("t", "a", "on-demand") is None
    assert prices.series("u", "a", "spot") is None


def test_a_price_holds_until_the_next() -> None:
    prices = book(spot(1), spot(5, since="1970-01-01T02:00:00Z"))
    series = prices.series("t", "a", "spot")
    assert series is not None
    assert [series.at(h * HOUR) for h in (0, 1.99, 2, 9)] == [1, 1, 5, 5]
    assert series.cost(1 * HOUR, 3 * HOUR) == pytest.approx(1 + 5)
    assert series.cost(3 * HOUR, 3 * HOUR) == series.cost(3 * HOUR, 2 * HOUR) == 0


def test_before_the_first_price_the_first_counts() -> None:
    series = Series([(10 * HOUR, 4.0)], capacity_type="spot", confirmed_at=0)
    assert series.cost(0, 11 * HOUR) == pytest.approx(44)


def test_two_prices_at_one_time_are_refused() -> None:
    with pytest.raises(UsageError, match=r"two prices of t \(spot\) in zone any"):
        book(spot(1), spot(2))
    assert at(book(spot(1), spot(1)).series("t", "a", "spot")) == 1


def test_spot_prices_are_old_after_a_week_and_list_prices_after_half_a_year() -> None:
    prices = book(spot(1), spot(2) | {"capacity_type": "on-demand"})
    spot_series, listed = prices.series("t", "a", "spot"), prices.series("t", "a", "on-demand")
    assert spot_series is not None
    assert listed is not None
    assert [spot_series.is_stale(DATED + days * DAY_S) for days in (6, 8)] == [False, True]
    assert [listed.is_stale(DATED + days * DAY_S) for days in (179, 181)] == [False, True]
    assert not flat(1, "spot", at=0).is_stale(DATED + 9_999 * DAY_S)


def test_a_price_of_the_books_ends_where_the_market_begins() -> None:
    old = book(spot(3, zone="a"), spot(9, zone="a", since="2027-01-10T00:00:00Z"))
    # In force since before the book's last price, and still so.
    new = old.with_spot([Market("a", "t", 1.5, DATED - 9 * DAY_S)], now=DATED)
    found = new.series("t", "a", "spot")
    assert at(found, DATED) == 1.5
    assert at(found, DATED - 10 * DAY_S) == 3


def test_the_markets_price_of_a_zone_goes_before_the_books_of_its_region() -> None:
    old = book(spot(2, zone="us-east-2"))
    new = old.with_spot([Market("us-east-2a", "t", 1.5, DATED - 9 * DAY_S)], now=DATED + 30 * DAY_S)
    series = new.series("t", "us-east-2a", "spot")
    assert at(series, DATED) == 1.5
    assert series is not None
    assert not series.is_stale(DATED + 31 * DAY_S)
    assert at(new.series("t", "us-east-2b", "spot")) == 2
    assert at(old.series("t", "us-east-2a", "spot")) == 2


@pytest.mark.parametrize("usd", ["0", "-1", "700.0", "nan", "inf", "'1'"])
def test_what_is_no_price_is_refused(usd: str) -> None:
    text = f"{HEAD}[[price]]\ninstance_type='t'\ncapacity_type='spot'\nusd_per_hour={usd}"
    with pytest.raises(UsageError, match=r"price book mine.toml: .*usd_per_hour"):
        read_book(text, name="mine.toml")


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("dated = ", "a.toml", "Invalid"),
        (HEAD, "a.toml", "price"),
        ("{", "a.json", "truncated"),
        (f"{HEAD}price=[]\ncurrency='EUR'", "a.toml", "currency"),
        ("[" * 100_000, "a.json", ""),
    ],
)
def test_a_file_that_is_no_price_book_is_refused_by_name(text: str, name: str, says: str) -> None:
    with pytest.raises(UsageError, match=f"price book {name}: .*{says}"):
        read_book(text, name=name)


def test_a_book_may_be_json() -> None:
    text = msgspec.json.encode({"dated": "2027-01-15", "price": [spot(1)]}).decode()
    assert at(read_book(text, name="prices.json").series("t", "z", "spot")) == 1


def test_the_example_in_the_package_is_a_book_and_says_that_it_is_one() -> None:
    text = files("fleet").joinpath("example_prices.toml").read_text(encoding="utf-8")
    example = read_book(text, name="example_prices.toml")
    assert "example" in example.source
    assert at(example.series("h100", "any", "spot")) == 1.80
    assert at(example.series("h100", "any", "on-demand")) == 4.50
    assert at(example.series("p5.48xlarge", "us-east-2a", "spot")) == 11.99
