"""The simulated world: time, work, reclaims and money."""

from itertools import pairwise

import pytest

from fleet.job import CapacityType
from fleet.pool.decision import Launch, Release
from fleet.pool.simulate.arrivals import Arrival, arrivals
from fleet.pool.simulate.market import Market, ZoneTrace
from fleet.pool.simulate.outcome import outcome
from fleet.pool.simulate.world import Orders, Rules, World
from fleet.pool.snapshot import Happening, Snapshot

HOUR = 3600.0
RULES = Rules(startup_s=600, lost_s=60, item_s=60, tick_s=300)


def market(*counts: int, gap_s: float = HOUR, spot_usd: float = 1.0) -> Market:
    """Make a market of one zone; on-demand nodes cost 4 USD an hour."""
    trace = ZoneTrace(zone="a", counts=counts, spot_usd=(spot_usd,), on_demand_usd=4.0)
    return Market(name="test", gap_s=gap_s, zones=(trace,))


def batch(name: str = "one", *, at: float = 0.0, hours: float = 1.0, within: float = 8) -> Arrival:
    return Arrival(name=name, at=at, deadline=at + within * HOUR, work_s=hours * HOUR)


class Keeps:
    """Hold so many nodes of each kind, for as long as there is work."""

    def __init__(self, spot: int = 0, on_demand: int = 0, *, fallback: bool = True) -> None:
        self.wanted: dict[CapacityType, int] = {"spot": spot, "on-demand": on_demand}
        self.fallback = fallback
        self.seen: list[Happening] = []
        self.looks: list[Snapshot] = []

    def __call__(self, snapshot: Snapshot) -> Orders:
        self.looks.append(snapshot)
        self.seen += snapshot.happened
        assert snapshot.zones
        zone = snapshot.zones[0]
        launches, releases = [], []
        for kind, wanted in self.wanted.items():
            here = zone.spot if kind == "spot" else zone.on_demand
            missing = (wanted if snapshot.work else 0) - here.held
            if missing > 0:
                launches.append(Launch(capacity_type=kind, zone="a", count=missing, why=""))
            if missing < 0:
                releases.append(Release(capacity_type=kind, zone="a", count=-missing, why=""))
        return Orders(
            launches=tuple(launches), releases=tuple(releases), batch_fallback=self.fallback
        )


def lived(policy: Keeps, *batches: Arrival, on: Market) -> World:
    world = World(on, batches, policy, RULES)
    world.run()
    return world


def test_work_takes_its_time_behind_the_start_up() -> None:
    world = lived(Keeps(spot=2), batch(hours=3), on=market(*[2] * 8))
    assert world.queue.all[0].begun_at == 600
    assert world.queue.all[0].ended_at == pytest.approx(600 + 1.5 * HOUR)


def test_start_up_is_paid_for_and_so_is_the_time_until_release() -> None:
    made = outcome(lived(Keeps(spot=1), batch(hours=1), on=market(*[1] * 8)))
    assert made.split.startup == pytest.approx(600 / 4200, rel=0.1)
    assert made.usd == pytest.approx(4200 / HOUR, rel=0.1)
    assert made.cost_ratio == pytest.approx(made.usd / 4, rel=1e-5)


def test_no_more_spot_is_granted_than_the_market_has() -> None:
    policy = Keeps(spot=5)
    world = lived(policy, batch(hours=2), on=market(*[2] * 8))
    assert max(point.spot for point in world.points) <= 2
    assert {type(one).__name__ for one in policy.seen} >= {"LaunchFailed", "BecameReady"}


def test_a_reclaim_takes_nodes_and_the_last_of_their_work() -> None:
    policy = Keeps(spot=1)
    world = lived(policy, batch(hours=2), on=market(1, 0, 1, 1, 1, 1))
    made = outcome(world)
    assert made.reclaims == 1
    assert made.split.lost == pytest.approx(60 / (2 * HOUR + 60 + 2 * 600), rel=0.1)
    assert world.queue.all[0].ended_at == pytest.approx(2 * HOUR + 2 * 600 + HOUR + 60, abs=300)
    assert "Reclaimed" in {type(one).__name__ for one in policy.seen}


def test_what_a_batch_has_not_done_by_its_deadline_expires() -> None:
    late, later = batch("late", hours=9, within=3), batch("later", at=HOUR, hours=1, within=7)
    made = outcome(lived(Keeps(spot=1), late, later, on=market(*[1] * 9)))
    assert made.misses == 1
    assert made.expired_share == pytest.approx((9 - 3 + 1 / 6) / 10, abs=0.01)
    assert made.work_h == pytest.approx(10 - (9 - 3 + 1 / 6), abs=0.01)


def test_on_demand_nodes_work_for_batches_only_while_they_may() -> None:
    idle = lived(Keeps(on_demand=1, fallback=False), batch(), on=market(*[0] * 8))
    made = outcome(idle)
    assert (made.misses, made.work_h, made.cost_ratio) == (1, 0.0, None)
    assert made.split.idle > 0.9
    assert outcome(lived(Keeps(on_demand=1), batch(), on=market(*[0] * 8))).on_demand_share == 1


def test_the_policy_is_asked_again_soon_when_something_happened() -> None:
    policy = Keeps(spot=1)
    lived(policy, batch(), on=market(*[1] * 3))
    times = [look.now for look in policy.looks]
    assert times[0:2] == [0.0, 15.0]
    assert max(b - a for a, b in pairwise(times)) <= RULES.tick_s


def test_prices_are_those_of_the_moment() -> None:
    trace = ZoneTrace(zone="a", counts=(1,) * 6, spot_usd=(1.0, 2.0) * 3, on_demand_usd=4.0)
    policy = Keeps(spot=1)
    made = outcome(lived(policy, batch(hours=5), on=Market(name="m", gap_s=HOUR, zones=(trace,))))
    assert made.usd == pytest.approx(1 + 2 + 1 + 2 + 1 + 2 / 6, rel=0.05)
    assert {look.zones[0].spot_usd for look in policy.looks if look.zones} == {1.0, 2.0}


def test_same_seed_same_batches() -> None:
    def draw(seed: int) -> tuple[Arrival, ...]:
        return arrivals(
            horizon_s=30 * 24 * HOUR, mean_nodes=6, window_s=24 * HOUR, every_s=2 * HOUR, seed=seed
        )

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert all(one.deadline <= 30 * 24 * HOUR for one in draw(1))
    load = sum(one.work_s for one in draw(1)) / (29 * 24 * HOUR)
    assert load == pytest.approx(6, rel=0.2)
