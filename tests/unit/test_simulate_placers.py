"""Where SpotHedge's nodes go."""

from collections.abc import Iterable

from fleet.pool.simulate.placers import LOTS, Hedging
from fleet.pool.snapshot import Count, Happening, Launched, LaunchFailed, Reclaimed, Snapshot, Zone

# By price: a, b, c.
USD = {"a": 1.0, "b": 2.0, "c": 3.0}


def seen(held: str = "", happened: Iterable[Happening] = ()) -> Snapshot:
    """Look at three zones. held: the zone of each spot node."""
    zones = tuple(
        Zone(
            name=name, spot=Count(ready=held.count(name)), spot_usd=usd, on_demand_usd=10.0 - usd
        )
        for name, usd in USD.items()
    )  # fmt: skip
    return Snapshot(now=100.0, work=(), zones=zones, happened=tuple(happened))


def refused(zone: str) -> LaunchFailed:
    return LaunchFailed(zone=zone, at=1.0, capacity_type="spot")


def placed(hedging: Hedging, snapshot: Snapshot, nodes: int = 1) -> dict[str, int]:
    hedging.hear(snapshot)
    return dict(hedging.place(snapshot, "spot", nodes))


def test_zones_without_a_node_go_first_then_the_cheapest() -> None:
    assert placed(Hedging(), seen(), 2) == {"a": 1, "b": 1}
    assert placed(Hedging(), seen("a"), 2) == {"b": 1, "c": 1}
    assert placed(Hedging(), seen("abc"), 3) == {"a": 3}


def test_a_zone_is_out_until_one_of_its_launches_succeeds() -> None:
    hedging = Hedging()
    assert placed(hedging, seen("bc", [Reclaimed(zone="a", at=1.0)])) == {"b": 1}
    assert placed(hedging, seen("bc")) == {"b": 1}
    back = Launched(zone="a", at=2.0, capacity_type="spot")
    assert placed(hedging, seen("bc", [back])) == {"a": 1}


def test_with_fewer_than_two_zones_left_all_are_asked_again() -> None:
    hedging = Hedging()
    assert placed(hedging, seen("c", [refused("a")])) == {"b": 1}
    assert placed(hedging, seen("c", [refused("b")]), 2) == {"a": 1, "b": 1}


def test_a_zone_without_on_demand_nodes_is_out_for_nobody() -> None:
    sold_out = LaunchFailed(zone="a", at=1.0, capacity_type="on-demand")
    assert placed(Hedging(), seen("bc", [sold_out])) == {"a": 1}


def test_on_demand_nodes_go_where_they_cost_least() -> None:
    assert dict(Hedging().place(seen("c"), "on-demand", 4)) == {"c": 4}


def test_thousands_are_placed_in_lots() -> None:
    many = placed(Hedging(), seen(), 10 * LOTS)
    assert many == {"a": 10 * LOTS - 20, "b": 10, "c": 10}
