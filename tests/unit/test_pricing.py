"""Which price counts for a node, and what is said when none does."""

import msgspec

from fleet.job import CapacityType
from fleet.ledger import ledger
from fleet.lives import Life, lives
from fleet.prices import PriceBook, PriceFile, Series
from fleet.pricing import Pricing
from tests.books import Machine


def book(**usd: float) -> PriceBook:
    """Prices of an h100 dated to the day of the tests' fleets."""
    prices = [
        {"instance_type": "h100", "capacity_type": kind.replace("_", "-"), "usd_per_hour": price}
        for kind, price in usd.items()
    ]
    return PriceBook.of(msgspec.convert({"dated": "2027-01-16", "price": prices}, PriceFile))


def life(
    node: str = "n", capacity_type: CapacityType = "spot", *, price: float | None = None,
    instance_type: str = "h100", hours: float = 1.0,
) -> Life:  # fmt: skip
    n = Machine(node, capacity_type, price=price, instance_type=instance_type)
    (found,) = lives([n.started(0), n.ready(hours)])
    return found


def usd(series: Series | None) -> float | None:
    return None if series is None else series.at(0)


def test_what_a_node_was_told_goes_before_the_book() -> None:
    pricing = Pricing(book(spot=2, on_demand=5), [])
    assert usd(pricing.paid(life(price=1.5))) == 1.5
    assert not pricing.uses_book
    assert usd(pricing.paid(life())) == 2
    assert pricing.uses_book


def test_on_demand_is_what_the_book_says_and_else_what_a_node_of_the_model_told() -> None:
    told = [life("a", "on-demand", price=4), life("b", "on-demand", price=6), life(price=1)]
    assert usd(Pricing(book(spot=2, on_demand=5), told).on_demand(life())) == 5
    assert usd(Pricing(book(), told).on_demand(life())) == 6
    assert Pricing(book(), []).on_demand(life()) is None


def test_a_node_without_instance_type_and_price_has_none() -> None:
    assert Pricing(book(spot=2), []).paid(life(instance_type="")) is None


def test_missing_and_old_prices_are_told_by_kind() -> None:
    all_of_them = [
        life("a"), life("b"), life("c", "on-demand", hours=24 * 200), life("d", price=1),
        life("e", instance_type=""),
    ]  # fmt: skip
    pricing = Pricing(book(on_demand=5), all_of_them)
    doubts = list(pricing.doubts(ledger(all_of_them, pricing.paid)))
    assert [doubt.partition(" price")[0] for doubt in doubts] == [
        "nodes of no instance type, spot, in a: no",
        "h100, on-demand, in a: the",
        "h100, spot, in a: no",
    ]
