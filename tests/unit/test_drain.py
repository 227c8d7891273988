"""Until when a consumer may pull, and until when what it runs may go on."""

import asyncio
import math
import time

import pytest

from consumers.drain import Drain
from fleet.notice import Notice, NoticeSource

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


def test_a_signal_to_a_node_that_goes_already_leaves_nothing_and_the_first_cause_stays() -> None:
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


def withdrawn(source: NoticeSource) -> Notice:
    return Notice(kind="withdrawn", source=source)


@pytest.mark.parametrize("source", ["aws", "command"])
def test_a_withdrawn_notice_gives_all_the_time_back(source: NoticeSource) -> None:
    drain = Drain(grace_s=0)
    drain.hear(cloud(30))
    assert drain.hear(withdrawn(source))
    assert not drain.begun.is_set()
    assert drain.withdrawn.is_set()
    assert (drain.left_s, drain.cause) == (math.inf, "")
    assert not drain.hear(withdrawn(source))


def test_no_cloud_takes_back_what_an_operator_said() -> None:
    drain = Drain(grace_s=10)
    drain.hear(Notice(kind="terminate", source="azure", deadline=time.monotonic() + 5))
    drain.hear(Notice(kind="terminate", source="command", deadline=time.monotonic() + 60))
    assert not drain.hear(withdrawn("azure"))
    assert drain.begun.is_set()
    assert (drain.cause, drain.is_final) == ("command", True)
    assert 59 < drain.left_s <= 60


def test_the_end_of_a_drill_takes_back_no_notice_of_a_cloud() -> None:
    drain = Drain(grace_s=10)
    drain.hear(Notice(kind="terminate", source="drill", deadline=time.monotonic() + 60))
    drain.hear(cloud(100))
    assert not drain.hear(withdrawn("drill"))
    assert (drain.cause, drain.is_final) == ("aws", False)
    assert 99 < drain.left_s <= 100


def test_an_operator_who_calls_a_node_back_takes_back_a_hint_as_well() -> None:
    drain = Drain(grace_s=0)
    drain.hear(Notice(kind="rebalance", source="aws"))
    assert not drain.hear(withdrawn("drill"))
    assert not drain.takes_long_work
    assert drain.hear(withdrawn("command"))
    assert drain.takes_long_work


@pytest.mark.parametrize("source", ["azure", "command"])
def test_nobody_takes_back_a_signal(source: NoticeSource) -> None:
    drain = Drain(grace_s=10)
    drain.hear(Notice(kind="terminate", source="azure", deadline=time.monotonic() + 30))
    drain.hear(SIGNAL)
    assert not drain.hear(withdrawn(source))
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
