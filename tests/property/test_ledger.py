"""I9: whatever becomes of a fleet's events, the parts sum to the bill and none is negative."""

import math
import random
from collections.abc import Sequence
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.cost import BY, report
from fleet.events import AnyEvent, NodeResumed
from fleet.ledger import PARTS, ledger
from fleet.lives import believed, lives
from fleet.node import NodeState
from fleet.prices import Series
from tests.books import HOUR, ON_DEMAND, T0, Machine, on_demand, priced, seed_fleet

hour = st.floats(-1, 60)
some = st.floats(0, 80)
STATES = get_args(NodeState)


@st.composite
def machine_events(draw: st.DrawFn) -> AnyEvent:
    """Anything that one of three nodes may say at any time, in no order and with no sense."""
    n = Machine(
        f"n{draw(st.integers(1, 3))}",
        "spot",
        launched=draw(st.sampled_from([0.0, 5.0])),
        host=draw(st.sampled_from(["", "h"])),
    )
    at, hours, items = draw(hour), draw(some), draw(st.integers(0, 2))
    tenant, state = draw(st.sampled_from(["a", "b"])), draw(st.sampled_from(STATES))
    return draw(
        st.sampled_from(
            [
                n.launched(at),
                n.started(at),
                n.ready(at),
                n.draining(at),
                n.stopped(at),
                n.gone(at),
                n.used(at, hours, tenant=tenant, tokens=5),
                NodeResumed(at=T0 + at * HOUR, node=n.node, source="azure"),
                n.meter(at, busy=hours, stall=draw(some), items=items, state=state),
            ]
        )
    )


@settings(max_examples=150)
@given(
    st.lists(machine_events(), max_size=30),
    st.dictionaries(st.sampled_from(["n1", "n2", "x"]), hour.map(lambda h: T0 + h * HOUR)),
    st.one_of(st.just(-math.inf), hour.map(lambda h: T0 + h * HOUR)),
)
def test_parts_sum_to_the_bill_whatever_nodes_say(
    events: Sequence[AnyEvent], beats: dict[str, float], since: float
) -> None:
    steps = [(T0, 1.0), (T0 + 10 * HOUR, 3.0), (T0 + 25.5 * HOUR, 0.5)]
    market = Series(steps, capacity_type="spot", confirmed_at=0)
    accounts = ledger(lives(events, beats), lambda _: market, since=since)
    for account in accounts:
        assert account.usd is not None
        assert account.usd >= 0
        assert all(entry.seconds > 0 and entry.usd >= 0 for entry in account.entries)
        sums = [account.sum_of(part) for part in PARTS]
        assert math.isclose(sum(s for s, _ in sums), account.seconds, abs_tol=1e-5)
        assert math.isclose(sum(u for _, u in sums), account.usd, abs_tol=1e-6)
    bill = sum(account.usd or 0.0 for account in accounts)
    for by in BY:
        made = report(accounts, on_demand, by=by, since=since)
        assert math.isclose(made.bill_usd, bill, abs_tol=1e-6)
        assert math.isclose(sum(part.usd for part in made.parts.values()), bill, abs_tol=1e-6)
        assert math.isclose(sum(row.usd for row in made.rows), bill, abs_tol=1e-6)
        assert all(row.usd >= 0 and row.direct_usd >= 0 for row in made.rows)


@settings(max_examples=30)
@given(st.randoms(use_true_random=False))
def test_the_order_in_which_events_come_changes_nothing(shuffle: random.Random) -> None:
    events = list(seed_fleet(reclaims=5, total_h=100))
    expected = report(ledger(lives(events), priced), on_demand)
    # Equal times keep their order: a node's own events come as it said them.
    by_node = {f"n{n}": [event for event in events if event.node == f"n{n}"] for n in range(5)}
    names = list(by_node)
    shuffle.shuffle(names)
    mixed = [event for name in names for event in by_node[name]]
    assert report(ledger(lives(mixed), priced), on_demand) == expected


@settings(max_examples=60)
@given(st.sets(st.integers(0, 29)))
def test_lost_events_never_make_a_fleet_look_better(lost: set[int]) -> None:
    """Without its last sign of life a node costs less; what is left is no more useful than it was.

    Only the first and the last events say when a node lived, so they stay here.
    """
    events = list(seed_fleet(reclaims=5, total_h=100))
    kept = [e for n, e in enumerate(events) if n not in lost or n % 6 in {0, 5}]
    whole = report(ledger(lives(events), priced), on_demand)
    rest = report(ledger(lives(kept), priced), on_demand)
    assert math.isclose(rest.bill_usd, whole.bill_usd, abs_tol=1e-6)
    assert rest.parts["useful"].hours <= whole.parts["useful"].hours + 1e-9
    assert rest.saved_usd is not None
    assert whole.saved_usd is not None
    assert rest.saved_usd <= whole.saved_usd + 1e-6


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 60))
def test_no_clock_makes_a_bill_of_years(at: float, written_h: float) -> None:
    written_at = T0 + written_h * HOUR
    n = Machine()
    odd = believed(n.ready(0), written_at)
    strange = believed(Machine(price=ON_DEMAND).started(at / HOUR), written_at)
    (account,) = ledger(lives([strange, odd]), priced)
    assert account.seconds <= 5 * HOUR
