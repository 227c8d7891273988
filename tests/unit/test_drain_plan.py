"""Finish or save: what a notice leaves time for."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from consumers.drain_plan import Pace, Plan, plan

FAST = Pace(to_go=50, made=100, for_s=2.0)  # 1 s to go
SLOW = Pace(to_go=500, made=100, for_s=2.0)  # 10 s to go
WAITING = Pace(to_go=10, made=0, for_s=3.0)


def test_what_fits_is_finished_and_what_does_not_is_saved() -> None:
    assert plan([FAST, SLOW], save_in_s=5) == Plan(finish=1, save=1, worth_it=True)
    assert plan([FAST, SLOW], save_in_s=10) == Plan(finish=2, save=0, worth_it=True)


def test_an_item_that_cannot_be_finished_runs_on_for_the_tokens_that_it_makes() -> None:
    assert plan([SLOW], save_in_s=5).worth_it


def test_an_item_that_will_begin_again_runs_on_only_if_it_can_be_finished() -> None:
    hopeless, quick = (msgspec.structs.replace(pace, keeps=False) for pace in (SLOW, FAST))
    assert not plan([hopeless], save_in_s=5).worth_it
    assert plan([hopeless, quick], save_in_s=5).worth_it


def test_items_that_have_not_begun_are_handed_over_at_once() -> None:
    assert not plan([WAITING, WAITING], save_in_s=100).worth_it


def test_without_time_everything_is_saved_now() -> None:
    assert plan([FAST], save_in_s=0) == Plan(finish=0, save=1, worth_it=False)


def test_an_item_with_nothing_to_go_is_finished() -> None:
    assert plan([Pace(to_go=0, made=0, for_s=0)], save_in_s=1).finish == 1


PACES = st.lists(
    st.builds(
        Pace,
        to_go=st.integers(0, 10_000),
        made=st.integers(0, 10_000),
        for_s=st.floats(0, 1e4, allow_nan=False),
    )
)


@given(PACES, st.floats(-10, 1e5), st.floats(0, 1e5))
def test_more_time_never_finishes_fewer(items: list[Pace], left_s: float, more_s: float) -> None:
    sooner, later = plan(items, save_in_s=left_s), plan(items, save_in_s=left_s + more_s)
    assert later.finish >= sooner.finish
    assert sooner.finish + sooner.save == len(items)
