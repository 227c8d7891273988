"""Sharing out the time of an engine."""

import math

from hypothesis import given
from hypothesis import strategies as st

from consumers.meter import Share, ShareClock, Totals
from tests.asking import chat
from tests.fakes import job_of, line_of


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


def test_writing_is_a_stall_only_while_nothing_runs() -> None:
    now = Clock()
    clock = ShareClock(now)
    clock.enter()
    with clock.writing():
        now.now = 2.0
        clock.leave()
        now.now = 5.0
    now.now = 9.0
    clock.read()
    assert (clock.busy_s, clock.stall_s) == (2.0, 3.0)


def test_an_item_uses_the_engine_until_it_ends_and_no_longer() -> None:
    now = Clock()
    clock, share = ShareClock(now), Share()
    assert share.used_s == 0.0
    share.begin(clock)
    now.now = 3.0
    assert share.used_s == 3.0
    share.end()
    share.end()
    now.now = 8.0
    assert share.used_s == 3.0


def test_time_is_safe_once() -> None:
    share = Share()
    assert [share.secure(used_s) for used_s in (2.0, 2.0, 5.0, 4.0)] == [2.0, 0.0, 3.0, 0.0]


def test_what_a_checkpoint_keeps_is_told_without_a_line() -> None:
    totals, job = Totals(), job_of(chat("hi"))
    totals.kept(job, 0.0)
    assert totals.records(at=1, node="n", model="m") == []
    totals.kept(job, 1.5)
    totals.written(job, [line_of(job, 0)], complete=True, engine_s=0.25)
    (record,) = totals.records(at=1, node="n", model="m")
    assert (record.engine_s, record.items, record.jobs) == (1.75, 1, 1)
    assert totals.records(at=2, node="n", model="m") == []


steps = st.lists(
    st.tuples(st.sampled_from(["begin", "end", "secure"]), st.integers(0, 3), st.floats(0, 10)),
    max_size=40,
)


@given(steps)
def test_no_more_time_is_safe_than_the_engine_was_busy(
    played: list[tuple[str, int, float]],
) -> None:
    now = Clock()
    clock, shares = ShareClock(now), [Share() for _ in range(4)]
    safe_s, begun = 0.0, set[int]()
    for what, item, dt in played:
        if what == "begin" and item not in begun:
            begun.add(item)
            shares[item].begin(clock)
        elif what == "end":
            shares[item].end()
        elif what == "secure":
            safe_s += shares[item].secure(shares[item].used_s)
        now.now += dt
    clock.read()
    assert safe_s <= clock.busy_s + 1e-6
    for share in shares:
        safe_s += share.secure(share.used_s)
    assert math.isclose(safe_s, clock.busy_s, abs_tol=1e-6)
