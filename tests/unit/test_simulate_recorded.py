"""A fleet's own events as a market."""

import random

import pytest

from fleet.errors import NotFound
from fleet.events import AnyEvent, NodeGone, NodeStarted, UsageRecorded
from fleet.job import CapacityType, Tier
from fleet.pool.simulate.recorded import GAP_S, recall

BEGIN = 1_800_000_000.0
HOUR_S = 3600.0


def life(
    node: str,
    start_h: float,
    end_h: float,
    *,
    zone: str = "a",
    kind: CapacityType = "spot",
    usd: float | None = 1.0,
) -> list[AnyEvent]:
    at, end = BEGIN + start_h * HOUR_S, BEGIN + end_h * HOUR_S
    return [
        NodeStarted(
            at=at, node=node, capacity_type=kind, zone=zone, model="m", engine="scripted", pid=1,
            since=at, price_usd_per_hour=usd,
        ),
        NodeGone(at=end, node=node, cause="killed"),
    ]  # fmt: skip


def used(
    at_h: float, engine_h: float, *, batch: str | None = "one", tier: Tier = Tier.BATCH
) -> UsageRecorded:
    return UsageRecorded(
        at=BEGIN + at_h * HOUR_S, node="n", tenant="acme", model="m", tier=tier, batch=batch,
        jobs=1, items=1, failed_items=0, prompt_tokens=1, completion_tokens=1,
        engine_s=engine_h * HOUR_S,
    )  # fmt: skip


def test_spot_nodes_that_lived_were_to_be_had() -> None:
    events = life("x", 0, 4) + life("y", 1, 2) + life("z", 0, 4, zone="b")
    market = recall(events, window_s=HOUR_S).market
    counts = {zone.zone: zone.counts for zone in market.zones}
    assert market.horizon_s == 4 * HOUR_S
    per_hour = int(HOUR_S / GAP_S)
    assert [counts["a"][hour * per_hour + 30] for hour in range(4)] == [1, 2, 1, 1]
    assert set(counts["b"]) == {1}


def test_prices_are_those_that_were_paid() -> None:
    events = life("x", 0, 4, usd=0.5) + life("o", 0, 4, kind="on-demand", usd=3.0)
    zone = recall(events, window_s=HOUR_S).market.zones[0]
    assert (zone.price(0), zone.on_demand_usd) == (0.5, 3.0)


def test_without_an_on_demand_price_a_ratio_counts() -> None:
    assert recall(life("x", 0, 4, usd=2.0), window_s=HOUR_S).market.on_demand_usd == 5.0


def test_a_batch_is_all_that_was_spent_on_it_since_its_first_work() -> None:
    events = [*life("x", 0, 4), used(1.0, 0.25), used(2.0, 0.5), used(2.0, 9, tier=Tier.REALTIME)]
    (one,) = recall(events, window_s=HOUR_S).work
    assert (one.name, one.at, one.work_s) == ("acme.one", 0.75 * HOUR_S, 0.75 * HOUR_S)
    assert one.deadline - one.at == HOUR_S


def test_a_batch_whose_window_ends_behind_the_events_is_left_out_and_that_is_said() -> None:
    past = recall([*life("x", 0, 4), used(3.5, 0.25), used(1, 0.5, batch="two")], window_s=HOUR_S)
    assert [one.name for one in past.work] == ["acme.two"]
    assert any("1 batches are left out" in note for note in past.market.notes)


def test_the_order_of_events_does_not_matter() -> None:
    events = [*life("x", 0, 4), *life("y", 1, 2), used(1, 0.5), used(1, 0.5, batch=None)]
    shuffled = random.Random(1).sample(events, len(events))
    assert recall(events, window_s=HOUR_S) == recall(shuffled, window_s=HOUR_S)


def test_a_fleet_without_spot_nodes_has_no_market() -> None:
    with pytest.raises(NotFound, match="no spot node"):
        recall(life("o", 0, 4, kind="on-demand"), window_s=HOUR_S)
