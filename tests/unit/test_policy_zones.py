"""Where nodes go, which zones are left alone, and who is given back."""

from collections import Counter

import pytest
from msgspec.structs import replace

from fleet.pool.decision import Memory
from fleet.pool.knobs import Knobs, Tuning
from fleet.pool.policy import decide
from fleet.pool.policy_zones import active, cool, place
from fleet.pool.snapshot import (
    Count,
    Happening,
    Launched,
    LaunchFailed,
    Member,
    Price,
    Reclaimed,
    Refusal,
    Zone,
    count,
)
from tests.scenes import (
    KNOBS,
    NOW,
    codes,
    launched,
    released,
    remembering,
    snapshot,
    text,
    work,
    zone,
    zones,
)

TUNING = Tuning()
BUSY = work(node_h=40, due_in_h=20)


def failed(name: str, *, refusal: Refusal = "capacity", at: float = NOW) -> LaunchFailed:
    return LaunchFailed(zone=name, at=at, capacity_type="spot", refusal=refusal)


def active_at(*happened: Happening, at: float, names: str = "abc") -> set[str]:
    cooling = cool((), happened, now=NOW, tuning=TUNING)
    return active(list(names), "spot", cooling, now=at, tuning=TUNING)


def test_spot_is_spread_over_three_zones_even_where_one_is_cheapest() -> None:
    here = (zone("a", spot_usd=0.5), zone("b"), zone("c", spot_usd=1.9), zone("d", spot_usd=3.0))
    decision = decide(snapshot(BUSY, zones=here), KNOBS, Memory())
    assert decision.spot == 6
    assert launched(decision, "spot") == {"a": 2, "b": 2, "c": 2}


def test_among_zones_that_cost_about_the_same_the_emptiest_goes_first() -> None:
    here = [("a", 1.00, 3), ("b", 1.05, 1), ("c", 1.08, 0), ("d", 2.00, 0)]
    assert Counter(place(here, 4)) == {"b": 2, "c": 2}


def test_a_zone_that_often_reclaims_counts_as_dearer() -> None:
    calm = zone("calm", spot_usd=2.0, reclaims_per_h=0.01)
    wild = zone("wild", spot_usd=1.9, reclaims_per_h=1.4)
    decision = decide(snapshot(work(node_h=0.1, due_in_h=9), zones=(calm, wild)), KNOBS, Memory())
    assert launched(decision, "spot") == {"calm": 1}


def test_a_zone_that_reclaimed_is_left_alone_for_an_hour() -> None:
    taken = Reclaimed(zone="a", at=NOW, count=2)
    assert active_at(taken, at=NOW) == {"b", "c"}
    assert active_at(taken, at=NOW + 3599) == {"b", "c"}
    assert active_at(taken, at=NOW + 3600) == {"a", "b", "c"}


def test_a_zone_without_capacity_is_asked_again_after_a_quarter_of_an_hour() -> None:
    assert active_at(failed("a"), at=NOW + 899) == {"b", "c"}
    assert active_at(failed("a"), at=NOW + 900) == {"a", "b", "c"}


def test_a_zone_that_refuses_again_and_again_is_asked_less_often() -> None:
    cooling = cool((), [failed("a")], now=NOW, tuning=TUNING)
    waits: list[float] = []
    for _ in range(4):
        at = NOW + sum(waits) + cooling[0].for_s
        waits.append(cooling[0].for_s)
        cooling = cool(cooling, [failed("a", at=at)], now=at, tuning=TUNING)
    assert waits == [900, 1800, 3600, 3600]


def test_a_launch_that_is_granted_makes_a_zone_active_again() -> None:
    cooling = cool((), [failed("a")], now=NOW, tuning=TUNING)
    granted = Launched(zone="a", at=NOW + 5, capacity_type="spot")
    assert cool(cooling, [granted], now=NOW + 5, tuning=TUNING) == ()


def test_a_zone_that_flaps_is_left_alone_after_each_reclaim() -> None:
    # It grants every launch, and takes the node a minute later.
    cooling = cool((), [], now=NOW, tuning=TUNING)
    launches = 0
    for minute in range(0, 24 * 60, 5):
        now = NOW + 60 * minute
        if "a" in active(["a", "b", "c"], "spot", cooling, now=now, tuning=TUNING):
            launches += 1
            happened: list[Happening] = [Launched(zone="a", at=now, capacity_type="spot"),
                        Reclaimed(zone="a", at=now + 60)]  # fmt: skip
            cooling = cool(cooling, happened, now=now + 60, tuning=TUNING)
    assert launches <= 24


def test_with_one_zone_active_the_others_are_asked_sooner_and_with_none_sooner_still() -> None:
    two = [failed("a"), failed("b")]
    assert active_at(*two, at=NOW + 224) == {"c"}
    assert active_at(*two, at=NOW + 225) == {"a", "b", "c"}
    three = [*two, failed("c")]
    assert active_at(*three, at=NOW + 56) == set()
    assert active_at(*three, at=NOW + 57) == {"a", "b", "c"}


def test_a_zone_that_fails_while_it_cools_off_is_not_asked_at_every_look() -> None:
    # Nobody else is there to be asked, so it is asked early; it fails, and gets its rest again.
    cooling = cool((), [Reclaimed(zone="a", at=NOW)], now=NOW, tuning=TUNING)
    asked = 0
    for look in range(240):
        now = NOW + 15 * look
        if active(["a"], "spot", cooling, now=now, tuning=TUNING):
            asked += 1
            cooling = cool(cooling, [failed("a", at=now)], now=now, tuning=TUNING)
    assert asked <= 24


def test_a_quota_concerns_every_zone_and_is_not_asked_again_any_sooner() -> None:
    quota = failed("a", refusal="quota")
    assert active_at(quota, at=NOW + 899) == set()
    assert active_at(quota, at=NOW + 900) == {"a", "b", "c"}
    decision = decide(snapshot(BUSY, happened=(quota,)), KNOBS, Memory(usual_spot=9.0))
    assert not launched(decision, "spot")
    assert text(decision, "quota") == (
        "6 spot nodes cannot be had now, cooling off: every zone (quota, 900 s)"
    )


def test_throttled_calls_rest_for_a_minute() -> None:
    slow = failed("a", refusal="throttled")
    assert active_at(slow, at=NOW + 59) == set()
    assert active_at(slow, at=NOW + 60) == {"a", "b", "c"}
    assert "throttled" in codes(decide(snapshot(BUSY, happened=(slow,)), KNOBS, Memory()))


def test_all_zones_cooling_is_said_and_on_demand_stands_in() -> None:
    happened = tuple(failed(name) for name in "abc")
    decision = decide(snapshot(BUSY, happened=happened), KNOBS, Memory())
    assert not launched(decision, "spot")
    assert "a (capacity, 900 s), b (capacity, 900 s)" in text(decision, "no_spot")
    assert sum(launched(decision, "on-demand").values()) == decision.fallback == 3


def test_spot_that_cools_off_does_not_keep_on_demand_out() -> None:
    decision = decide(snapshot(BUSY, happened=(Reclaimed(zone="a", at=NOW),)), KNOBS, Memory())
    assert launched(decision, "on-demand") == {"a": 1, "b": 1, "c": 1}
    assert "a" not in launched(decision, "spot")


def test_on_demand_out_of_stock_everywhere_is_an_alert_that_names_the_batches() -> None:
    happened = tuple(LaunchFailed(zone=name, at=NOW, capacity_type="on-demand") for name in "abc")
    decision = decide(snapshot(BUSY, happened=happened), KNOBS, Memory())
    assert "3 on-demand nodes cannot be had now" in text(decision, "out_of_stock")
    [risk] = decision.at_risk
    assert (risk.batch, risk.why) == ("acme.b1", "out_of_stock")
    assert risk.short_by == pytest.approx(40 / (20 - 1 / 3))


def test_surplus_is_taken_from_who_idles_then_from_where_most_are() -> None:
    here = (
        zone("a", spot=Count(ready=5)),
        zone("b", spot=Count(ready=2, idle=1)),
        zone("c", spot=Count(ready=1, starting=1)),
    )
    decision = decide(snapshot(work(node_h=8, due_in_h=8), zones=here), KNOBS, Memory())
    assert decision.spot == 4
    assert released(decision, "spot") == {"a": 3, "b": 1, "c": 1}


def test_nodes_on_their_way_out_count_for_nothing_but_money() -> None:
    here = (zone("a", spot=Count(leaving=6)), zone("b"), zone("c"))
    decision = decide(snapshot(BUSY, zones=here), KNOBS, Memory())
    assert decision.figures.held_spot == 0
    assert decision.figures.spend_usd_per_h == pytest.approx(6 * 1.8)
    assert sum(launched(decision, "spot").values()) == 6


def test_two_looks_at_a_launch_that_is_under_way_launch_it_once() -> None:
    first = decide(snapshot(BUSY), KNOBS, remembering(usual_spot=9.0))
    starting = tuple(
        replace(one, spot=Count(starting=launched(first, "spot")[one.name])) for one in zones()
    )
    again = decide(snapshot(BUSY, zones=starting, now=NOW + 15), KNOBS, first.memory)
    assert not again.launches


def test_where_there_is_one_zone_alone_all_nodes_go_there() -> None:
    decision = decide(snapshot(BUSY, zones=(zone("only"),)), Knobs(), Memory(usual_spot=9.0))
    assert launched(decision, "spot") == {"only": 6}


def test_a_pool_without_zones_says_so() -> None:
    decision = decide(snapshot(BUSY, zones=()), KNOBS, Memory())
    assert text(decision, "no_spot") == "6 spot nodes cannot be had: no zone is known"
    assert not decision.launches


def test_members_are_counted_by_zone_kind_and_phase() -> None:
    members = [
        Member(name="1", zone="b", capacity_type="spot", phase="ready", idle=True),
        Member(name="2", zone="b", capacity_type="spot", phase="ready"),
        Member(name="3", zone="b", capacity_type="on-demand", phase="starting", idle=True),
        Member(name="4", zone="c", capacity_type="spot", phase="leaving", idle=True),
    ]
    found = count(members, {"a": Price(spot_usd=1.0), "b": Price(on_demand_usd=3.0, at=5.0)})
    assert found == (
        Zone(name="a", spot_usd=1.0),
        Zone(name="b", spot=Count(ready=2, idle=1), on_demand=Count(starting=1),
             on_demand_usd=3.0, priced_at=5.0),
        Zone(name="c", spot=Count(leaving=1)),
    )  # fmt: skip
