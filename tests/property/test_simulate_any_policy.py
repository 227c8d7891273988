"""Whatever a policy orders: no money, no work and no node comes from nowhere."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.job import CapacityType
from fleet.pool.decision import Launch, Release
from fleet.pool.simulate.arrivals import Arrival
from fleet.pool.simulate.market import HOUR_S, Market, ZoneTrace
from fleet.pool.simulate.outcome import outcome
from fleet.pool.simulate.world import Orders, Rules, World
from fleet.pool.snapshot import Snapshot

ZONES = ("a", "b")
TICKS = 12
kinds = st.sampled_from(["spot", "on-demand"])
moves = st.tuples(kinds, st.sampled_from(ZONES), st.integers(-5, 5))
orders = st.lists(st.tuples(st.lists(moves, max_size=4), st.booleans()), min_size=1, max_size=40)
counts = st.lists(st.integers(0, 6), min_size=TICKS, max_size=TICKS).map(tuple)
batches = st.lists(
    st.builds(
        lambda at, within, work: Arrival(
            name="b", at=at * HOUR_S, deadline=(at + within) * HOUR_S, work_s=work * HOUR_S
        ),
        st.floats(0, TICKS),
        st.floats(0.01, TICKS),
        st.floats(0.01, 20),
    ),
    max_size=6,
).map(lambda drawn: tuple(sorted(drawn, key=lambda batch: batch.at)))


class Reads:
    """Carry out a list of orders, round and round, and look at what comes of them."""

    def __init__(self, script: list[tuple[list[tuple[CapacityType, str, int]], bool]]) -> None:
        self._script = script
        self._looks = 0

    def __call__(self, snapshot: Snapshot) -> Orders:
        moves, fallback = self._script[self._looks % len(self._script)]
        self._looks += 1
        return Orders(
            launches=tuple(
                Launch(capacity_type=kind, zone=zone, count=count, why="")
                for kind, zone, count in moves
                if count > 0
            ),
            releases=tuple(
                Release(capacity_type=kind, zone=zone, count=-count, why="")
                for kind, zone, count in moves
                if count < 0
            ),
            batch_fallback=fallback,
        )


@settings(max_examples=60, deadline=None)
@given(orders, counts, counts, batches)
def test_bill_work_and_nodes_add_up(
    script: list[tuple[list[tuple[CapacityType, str, int]], bool]],
    first: tuple[int, ...],
    second: tuple[int, ...],
    arrivals: tuple[Arrival, ...],
) -> None:
    zones = tuple(
        ZoneTrace(zone=name, counts=there, spot_usd=(1.0,), on_demand_usd=3.0)
        for name, there in zip(ZONES, (first, second), strict=True)
    )
    market = Market(name="any", gap_s=HOUR_S, zones=zones)
    world = World(market, arrivals, Reads(script), Rules(tick_s=900, soon_s=300, sample_s=900))
    world.run()
    made = outcome(world)  # raises if the parts do not sum to the bill

    for bill in world.bills.values():
        parts = (bill.startup, bill.useful, bill.lost, bill.idle)
        assert min(parts) > -1e-6, bill
    assert all(point.spot <= point.available for point in world.points)
    came = sum(batch.arrival.work_s for batch in world.queue.all)
    done = sum(world.useful_s.values())
    left = sum(batch.left_s for batch in world.queue.all if not batch.missed)
    assert abs(came - done - world.queue.expired_s - left) < 1e-3 * max(1.0, came)
    assert made.misses + sum(b.ended_at is None or not b.missed for b in world.queue.all) == len(
        world.queue.all
    )
