"""How many jobs to pull."""

import pytest

from consumers.intake import MOST_JOBS, Room


def test_an_empty_room_wants_a_job_a_slot() -> None:
    assert Room(8).wanted() == 8


def test_a_full_room_wants_none() -> None:
    room = Room(8)
    room.enter(8)
    assert (room.items, room.wanted()) == (8, 0)


def test_a_job_may_be_larger_than_the_room() -> None:
    room = Room(8)
    room.enter(500)
    assert room.wanted() == 0


def test_no_pull_asks_for_more_than_its_share() -> None:
    assert Room(10_000).wanted() == MOST_JOBS


def test_the_first_pull_expects_jobs_of_the_size_it_was_told() -> None:
    assert Room(32, job_items=32).wanted() == 1


def test_large_jobs_make_the_next_pull_small() -> None:
    room = Room(100)
    for _ in range(30):
        room.enter(50).leave()
    assert room.wanted() == 3


def test_room_is_made_item_by_item() -> None:
    room = Room(4, job_items=4)
    seat = room.enter(4)
    room.freed.clear()
    seat.finish()
    assert room.freed.is_set()
    assert (room.items, room.wanted()) == (3, 1)


@pytest.mark.parametrize("finished", range(5))
def test_a_job_that_leaves_takes_all_its_items_along_and_no_more(finished: int) -> None:
    room = Room(8)
    other, seat = room.enter(2), room.enter(3)
    for _ in range(finished):
        seat.finish()
    seat.leave()
    seat.leave()
    seat.finish()
    assert room.items == 2
    other.leave()
    assert room.items == 0
