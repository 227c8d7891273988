"""Prices, the ceiling, and the budget."""

import pytest
from msgspec.structs import replace

from fleet.pool.decision import Memory
from fleet.pool.policy import decide
from fleet.pool.policy_money import Afforded, afford
from fleet.pool.snapshot import Count, Load
from tests.scenes import (
    HOUR,
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

BUSY = work(node_h=40, due_in_h=20)


def test_spot_over_the_ceiling_is_not_launched() -> None:
    here = (zone("a", spot_usd=3.7), zone("b"), zone("c"))
    decision = decide(snapshot(BUSY, zones=here), KNOBS, remembering(usual_spot=9.0))
    assert launched(decision, "spot") == {"b": 3, "c": 3}
    assert text(decision, "price_over_ceiling") == (
        "spot costs 80% of on-demand or more (4.50 USD/h): a at 3.70"
    )


def test_with_every_zone_over_the_ceiling_work_waits_until_on_demand_must_do_it() -> None:
    here = tuple(zone(name, spot_usd=4.2) for name in "abc")
    distant = decide(snapshot(BUSY, zones=here), KNOBS, remembering(usual_spot=9.0))
    assert not distant.launches
    near = snapshot(work(node_h=1, due_in_h=1), zones=here)
    assert launched(decide(near, KNOBS, remembering(usual_spot=9.0)), "on-demand")


def test_spot_dearer_than_on_demand_goes_when_others_do_its_work() -> None:
    dear = zone("a", spot=Count(ready=3), spot_usd=4.6)
    alone = decide(snapshot(BUSY, zones=(dear, zone("b"), zone("c"))), KNOBS, Memory())
    assert not released(alone, "spot"), "two of three are required"
    assert sum(launched(alone, "spot").values()) == alone.spot
    joined = (dear, zone("b", spot=Count(ready=2)), zone("c", spot=Count(ready=1)))
    decision = decide(snapshot(BUSY, zones=joined), KNOBS, Memory())
    assert released(decision, "spot") == {"a": 3}
    assert "in a: 3 nodes given back" in text(decision, "dear")


def test_a_stale_price_counts_as_somewhat_higher() -> None:
    old = zone("a", spot_usd=3.0, priced_at=NOW - 7 * HOUR)
    decision = decide(snapshot(BUSY, zones=(old,)), KNOBS, remembering(usual_spot=9.0))
    assert "a at 3.75" in text(decision, "price_over_ceiling")
    assert "older than 6 h" in text(decision, "price_stale")
    cheap = replace(old, spot_usd=2.0)
    assert launched(decide(snapshot(BUSY, zones=(cheap,)), KNOBS, Memory()), "spot")


@pytest.mark.parametrize("price", [None, 0.0, -1.0, float("nan"), float("inf")])
def test_a_spot_price_that_is_none_launches_nothing_and_is_named(price: float | None) -> None:
    here = (zone("a", spot_usd=price), zone("b"), zone("c"))
    decision = decide(snapshot(BUSY, zones=here), KNOBS, remembering(usual_spot=9.0))
    assert launched(decision, "spot") == {"b": 3, "c": 3}
    assert text(decision, "price_unknown") == (
        "no spot is launched in a: its price there is not known"
    )


def test_when_prices_vanish_the_last_on_demand_price_still_counts() -> None:
    seen = decide(snapshot(BUSY), KNOBS, remembering(usual_spot=9.0))
    gone = tuple(zone(name, on_demand_usd=None) for name in "abc")
    decision = decide(snapshot(BUSY, zones=gone, now=NOW + 15), KNOBS, seen.memory)
    assert launched(decision, "spot") == {"a": 2, "b": 2, "c": 2}
    never = decide(snapshot(BUSY, zones=gone), KNOBS, Memory())
    assert not launched(never, "spot")
    assert "no on-demand price is known" in text(never, "price_unknown")
    assert launched(never, "on-demand"), "deadlines are kept at any price when there is no budget"


def test_the_budget_bounds_on_demand_and_names_the_batches_at_risk() -> None:
    # 6.5 nodes are required; 20 USD an hour bear four on-demand nodes.
    batches = [work(f"acme.b{n}", node_h=8, due_in_h=n + 1.0) for n in range(1, 4)]
    knobs = replace(KNOBS, budget_usd_per_h=20.0)
    decision = decide(snapshot(*batches), knobs, Memory())
    assert decision.figures.required > 4
    assert decision.fallback == 4
    assert "4 of 7 on-demand nodes for batches" in text(decision, "budget")
    assert [risk.batch for risk in decision.at_risk] == ["acme.b1", "acme.b2", "acme.b3"]
    assert {risk.why for risk in decision.at_risk} == {"budget"}
    first = decision.at_risk[0]
    assert first.short_by == pytest.approx(8 / (2 - 1 / 3) - 4)
    assert first.late_s == pytest.approx((8 / 4 - (2 - 1 / 3)) * HOUR)


def test_no_budget_makes_a_pool_overspend_but_for_its_baseline() -> None:
    knobs = replace(KNOBS, baseline=3, budget_usd_per_h=10.0)
    decision = decide(snapshot(BUSY, load=Load(busy=9.0)), knobs, Memory())
    assert decision.realtime == 3
    assert (decision.spot, decision.fallback) == (0, 0)
    assert "the baseline alone costs more, and is kept" in text(decision, "budget")


def test_a_budget_that_shrinks_gives_spot_back() -> None:
    knobs = replace(KNOBS, budget_usd_per_h=3.6)
    decision = decide(snapshot(BUSY, zones=zones((2, 2, 2))), knobs, remembering())
    assert decision.spot == 2
    assert sum(released(decision, "spot").values()) == 4


def test_nodes_on_their_way_out_use_up_the_budget_too() -> None:
    here = (zone("a", spot=Count(leaving=2)), zone("b"), zone("c"))
    knobs = replace(KNOBS, budget_usd_per_h=5.4)
    seen = snapshot(BUSY, zones=here)
    assert decide(seen, knobs, remembering(usual_spot=9.0)).spot == 1


def test_nothing_is_launched_before_what_it_replaces_is_gone_and_paid_no_more() -> None:
    # Three nodes of real-time are to become four, for which two spot nodes have to go.
    here = zones((2, 2, 0), on_demand=3)
    knobs = replace(KNOBS, baseline=2, budget_usd_per_h=22.0)
    seen = snapshot(BUSY, zones=here, load=Load(busy=2.5))
    first = decide(seen, knobs, remembering(realtime=3))
    assert (first.realtime, first.spot) == (4, 2)
    assert not first.launches
    assert sum(released(first, "spot").values()) == 2
    assert "launched when others are gone and it can be paid: 1 node" in str(first.reasons)
    gone = replace(seen, zones=zones((1, 1, 0), on_demand=3), now=NOW + 15)
    assert sum(launched(decide(gone, knobs, first.memory), "on-demand").values()) == 1


def test_a_budget_without_any_price_adds_nothing() -> None:
    here = (zone("a", spot=Count(ready=1), spot_usd=None, on_demand_usd=None),)
    knobs = replace(KNOBS, budget_usd_per_h=100.0)
    decision = decide(snapshot(BUSY, zones=here), knobs, Memory())
    assert not decision.launches
    assert "the budget cannot be checked" in text(decision, "budget")
    assert decision.figures.spend_usd_per_h is None


def test_money_goes_to_what_is_certain_first() -> None:
    wanted = Afforded(realtime=3, spot=9, fallback=4)

    def spent(usd: float) -> Afforded:
        return afford(usd, wanted, baseline=2, held_spot=3, on_demand_usd=4, spot_usd=1)

    assert spent(0) == Afforded(2, 0, 0)
    assert spent(12) == Afforded(3, 0, 0)
    assert spent(15) == Afforded(3, 3, 0)
    assert spent(23) == Afforded(3, 3, 2)
    assert spent(31) == Afforded(3, 3, 4)
    assert spent(1000) == wanted


def test_more_than_the_knob_allows_is_not_launched_and_is_said() -> None:
    knobs = replace(KNOBS, most_on_demand=1)
    decision = decide(snapshot(BUSY), knobs, Memory())
    assert decision.fallback == 1
    assert text(decision, "most_on_demand") == (
        "3 on-demand nodes are needed for batches, 1 are allowed"
    )
    assert {risk.why for risk in decision.at_risk} == {"most_on_demand"}


def test_a_limit_that_binds_for_spot_is_said() -> None:
    decision = decide(snapshot(BUSY), replace(KNOBS, most_spot=1), Memory())
    assert "at most 1" in text(decision, "most_spot")
    assert "most_spot" in codes(decision)
