"""Markets that are made up, the bound, and what the policies come to on them."""

from functools import cache

import pytest

from fleet.errors import UsageError
from fleet.pool.knobs import Knobs
from fleet.pool.simulate.arrivals import Arrival, arrivals
from fleet.pool.simulate.bound import bound
from fleet.pool.simulate.compare import NAMES, Run, compare
from fleet.pool.simulate.generator import MARKETS, generate
from fleet.pool.simulate.market import HOUR_S, Market, ZoneTrace, scaled
from fleet.pool.simulate.sketch import sketch
from fleet.pool.simulate.world import Rules

DAY_S = 86_400.0
# Enough to tell the policies apart, and short enough for a unit test.
DAYS = 2.5
KNOBS = Knobs(most_spot=18, most_on_demand=40)


def batches(market: Market, *, window_h: float = 24, seed: int = 1) -> tuple[Arrival, ...]:
    return arrivals(
        horizon_s=market.horizon_s,
        mean_nodes=6,
        window_s=window_h * HOUR_S,
        every_s=2 * HOUR_S,
        seed=seed,
    )


@cache
def runs(name: str, window_h: float) -> dict[str, Run]:
    market = generate(name, horizon_s=DAYS * DAY_S, seed=3)
    work = batches(market, window_h=window_h)
    return compare(market, work, knobs=KNOBS, rules=Rules(tick_s=300), mean_nodes=6)


@cache
def least(name: str, window_h: float) -> float:
    market = generate(name, horizon_s=DAYS * DAY_S, seed=3)
    found = bound(market, batches(market, window_h=window_h), KNOBS)
    assert found is not None
    return found


def test_same_seed_same_market() -> None:
    assert generate("v100", horizon_s=DAY_S, seed=1) == generate("v100", horizon_s=DAY_S, seed=1)
    assert generate("v100", horizon_s=DAY_S, seed=1) != generate("v100", horizon_s=DAY_S, seed=2)


@pytest.mark.parametrize("name", MARKETS)
def test_a_made_up_zone_is_there_as_often_as_the_recorded_one(name: str) -> None:
    market = generate(name, horizon_s=200 * DAY_S, seed=1)
    for zone, weather in zip(market.zones, MARKETS[name], strict=True):
        up = sum(count > 0 for count in zone.counts) / market.ticks
        cycle_h = weather.up_h + weather.down_h
        # Four standard deviations of the share that so many cycles come to.
        slack = 4 * (cycle_h / (200 * 24)) ** 0.5 / 2
        assert up == pytest.approx(weather.up_h / cycle_h, abs=slack), zone.zone


def test_a_market_of_no_length_is_refused() -> None:
    with pytest.raises(UsageError, match="too short"):
        generate("v100", horizon_s=10, seed=1)


@pytest.mark.parametrize("window_h", [24, 4])
@pytest.mark.parametrize("name", MARKETS)
def test_ours_misses_no_deadline_and_costs_less_than_on_demand(name: str, window_h: float) -> None:
    ours = runs(name, window_h)["overbook"].outcome
    assert ours.batches > 10
    assert ours.misses == 0
    assert ours.cost_ratio is not None
    assert ours.cost_ratio < 1


@pytest.mark.parametrize(
    ("name", "window_h", "at_most"),
    [
        ("v100", 24, 1.0),
        ("v100", 4, 1.0),
        ("h100", 24, 1.0),
        ("h100", 4, 1.0),
        ("scarce", 4, 1.0),
        # Outages of a two-state chain are never long: whoever waits for spot to the last is right.
        ("scarce", 24, 1.04),
    ],
)
def test_ours_costs_less_than_rivals_that_meet_all_deadlines(
    name: str, window_h: float, at_most: float
) -> None:
    found = {one: run.outcome for one, run in runs(name, window_h).items()}
    ours = found["overbook"].cost_ratio or 0.0
    for rival in ("greedy", "spothedge", "on_demand_only"):
        if not found[rival].misses:
            assert ours < at_most * (found[rival].cost_ratio or 0.0), rival


@pytest.mark.parametrize("window_h", [24, 4])
@pytest.mark.parametrize("name", MARKETS)
def test_nobody_who_meets_all_deadlines_beats_the_bound(name: str, window_h: float) -> None:
    for rival, run in runs(name, window_h).items():
        if not run.outcome.misses:
            assert (run.outcome.cost_ratio or 0.0) >= least(name, window_h), rival


@pytest.mark.parametrize("name", NAMES)
def test_the_shares_of_every_bill_sum_to_all_of_it(name: str) -> None:
    split = runs("scarce", 4)[name].outcome.split
    parts = (split.useful, split.startup, split.lost, split.idle)
    assert all(part >= 0 for part in parts)
    assert sum(parts) == pytest.approx(1, abs=1e-4)


def test_spot_alone_misses_deadlines_where_it_is_scarce() -> None:
    assert runs("scarce", 4)["spot_only"].outcome.misses > 0


def test_on_demand_alone_needs_no_spot() -> None:
    made = runs("scarce", 24)["on_demand_only"].outcome
    assert (made.on_demand_share, made.reclaims) == (1, 0)


def test_no_batch_within_the_horizon_is_said() -> None:
    with pytest.raises(UsageError, match="shorten the window"):
        market = generate("v100", horizon_s=DAY_S, seed=1)
        compare(market, batches(market), knobs=KNOBS, rules=Rules(), mean_nodes=6)


def test_more_batches_than_anybody_would_wait_for_are_refused() -> None:
    with pytest.raises(UsageError, match="less often"):
        arrivals(horizon_s=366 * DAY_S, mean_nodes=6, window_s=HOUR_S, every_s=1, seed=1)


def flat(spot: int, *, hours: int = 10, usd: float = 1.0) -> Market:
    trace = ZoneTrace(zone="a", counts=(spot,) * hours, spot_usd=(usd,), on_demand_usd=4.0)
    return Market(name="flat", gap_s=HOUR_S, zones=(trace,))


def of_hours(work_h: float, *, at_h: float = 0, within_h: float = 4) -> Arrival:
    at = at_h * HOUR_S
    return Arrival(name="one", at=at, deadline=at + within_h * HOUR_S, work_s=work_h * HOUR_S)


@pytest.mark.parametrize(
    ("spot", "work_h", "ratio"),
    [
        (1, 4, 0.25),  # all on spot
        (1, 8, (4 * 1 + 4 * 4) / (8 * 4)),  # a node for four hours, the rest on demand
        (0, 4, 1.0),  # all on demand
        (100, 72, 0.25),  # 18 nodes for four hours
        (100, 80, (72 * 1 + 8 * 4) / (80 * 4)),  # no more than may be held
    ],
)
def test_the_bound_is_the_cheapest_plan(spot: int, work_h: float, ratio: float) -> None:
    assert bound(flat(spot), [of_hours(work_h)], KNOBS) == pytest.approx(ratio)


def test_the_bound_waits_for_spot_that_will_come_and_for_lower_prices() -> None:
    trace = ZoneTrace(
        zone="a", counts=(0, 0, 1, 1, 1), spot_usd=(1.0, 1.0, 2.0, 1.0, 1.0), on_demand_usd=4.0
    )
    market = Market(name="later", gap_s=HOUR_S, zones=(trace,))
    assert bound(market, [of_hours(2, within_h=5)], KNOBS) == pytest.approx(0.25)
    assert bound(market, [of_hours(3, within_h=5)], KNOBS) == pytest.approx(4 / 12)


def test_there_is_no_bound_where_no_plan_meets_the_deadlines() -> None:
    assert bound(flat(1), [of_hours(1000)], KNOBS) is None


def test_more_spot_never_costs_more() -> None:
    market = generate("scarce", horizon_s=3 * DAY_S, seed=1)
    work = batches(market, window_h=4)
    few, many = bound(market, work, KNOBS), bound(scaled(market, 4), work, KNOBS)
    assert few is not None
    assert many is not None
    assert many < few


def test_the_sketch_shows_all_policies_and_fits_a_terminal() -> None:
    drawn = sketch(runs("v100", 24), 0.3)
    assert all(name in drawn for name in (*NAMES, "bound"))
    assert max(map(len, drawn.splitlines())) <= 100
