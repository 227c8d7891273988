"""Sharing out the time of an engine."""

import math

from hypothesis import given
from hypothesis import strategies as st

from consumers.meter import ShareClock


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_two_items_at_once_pay_half_each() -> None:
    now = Clock()
    clock = ShareClock(now)
    first = clock.enter()
    now.now = 2.0
    second = clock.enter()
    now.now = 4.0
    assert clock.leave() - first == 3.0
    now.now = 5.0
    assert clock.leave() - second == 2.0


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 10)), max_size=30))
def test_shares_sum_to_the_time_in_which_anything_ran(steps: list[tuple[bool, float]]) -> None:
    now = Clock()
    clock = ShareClock(now)
    entered: list[float] = []
    shares = busy = 0.0
    for enter, dt in [*steps, *[(False, 1.0)] * len(steps)]:
        if enter:
            entered.append(clock.enter())
        elif entered:
            shares += clock.leave() - entered.pop(0)
        busy += dt if entered else 0
        now.now += dt
    assert math.isclose(shares, busy, abs_tol=1e-6)
