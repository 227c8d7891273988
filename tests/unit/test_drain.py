"""Until when a consumer may pull, and until when what it runs may go on."""

import asyncio
import math
import time

from consumers.drain import Drain
from fleet.notice import Notice

SIGNAL = Notice(kind="terminate", source="signal")


def cloud(left_s: float) -> Notice:
    return Notice(kind="terminate", source="aws", deadline=time.monotonic() + left_s)


def test_without_a_notice_there_is_all_the_time() -> None:
    drain = Drain(grace_s=0)
    assert drain.left_s == math.inf
    assert not drain.begun.is_set()


def test_a_notice_without_a_deadline_leaves_the_grace_less_the_reserve() -> None:
    drain = Drain(grace_s=60, reserve_s=5)
    assert drain.hear(SIGNAL)
    assert 59 < drain.left_s <= 60
    assert 54 < drain.save_in_s <= 55
    assert drain.begun.is_set()


def test_a_second_signal_leaves_nothing_and_the_first_cause_stays() -> None:
    drain = Drain(grace_s=60)
    drain.hear(cloud(120))
    assert drain.hear(SIGNAL)
    assert drain.left_s <= 0
    assert drain.cause == "aws"


def test_the_earliest_of_two_deadlines_counts_and_a_repeated_notice_changes_nothing() -> None:
    drain = Drain(grace_s=0)
    notice = cloud(30)
    assert drain.hear(notice)
    assert not drain.hear(notice)
    assert not drain.hear(cloud(120))
    assert 29 < drain.left_s <= 30
    assert drain.hear(cloud(10))
    assert drain.left_s <= 10


def test_a_rebalance_is_no_drain_but_the_end_of_long_work() -> None:
    drain = Drain(grace_s=0)
    hint = Notice(kind="rebalance", source="aws")
    assert drain.hear(hint)
    assert not drain.hear(hint)
    assert not drain.begun.is_set()
    assert not drain.takes_long_work


def test_a_withdrawn_notice_gives_all_the_time_back() -> None:
    drain = Drain(grace_s=0)
    drain.hear(cloud(30))
    assert drain.hear(Notice(kind="withdrawn", source="azure"))
    assert not drain.begun.is_set()
    assert drain.withdrawn.is_set()
    assert drain.left_s == math.inf
    assert not drain.hear(Notice(kind="withdrawn", source="azure"))


def test_no_cloud_takes_back_a_signal() -> None:
    drain = Drain(grace_s=10)
    drain.hear(cloud(30))
    drain.hear(SIGNAL)
    assert not drain.hear(Notice(kind="withdrawn", source="azure"))
    assert drain.begun.is_set()


def test_every_notice_that_changes_something_wakes_who_waits_and_nobody_else() -> None:
    drain, sleeper = Drain(grace_s=60), asyncio.Event()
    with drain.wakes(sleeper):
        for _ in range(2):
            drain.hear(SIGNAL)
            assert sleeper.is_set()
            sleeper.clear()
    drain.hear(SIGNAL)
    assert not sleeper.is_set()
