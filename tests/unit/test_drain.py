"""When running work has to be let go of."""

import asyncio
import math

from consumers.drain import Drain


def test_without_a_notice_there_is_all_the_time() -> None:
    drain = Drain(grace_s=0)
    assert drain.left_s == math.inf
    assert not drain.begun.is_set()


def test_a_notice_leaves_the_grace() -> None:
    drain = Drain(grace_s=60)
    drain.begin("SIGTERM")
    assert 59 < drain.left_s <= 60
    assert drain.begun.is_set()


def test_the_second_notice_leaves_nothing_and_the_first_cause_stays() -> None:
    drain = Drain(grace_s=60)
    drain.begin("SIGTERM")
    drain.begin("SIGINT")
    assert drain.left_s <= 0
    assert drain.cause == "SIGTERM"


def test_every_notice_wakes_who_waits_and_nobody_else() -> None:
    drain, sleeper = Drain(grace_s=60), asyncio.Event()
    with drain.wakes(sleeper):
        for _ in range(2):
            drain.begin("SIGTERM")
            assert sleeper.is_set()
            sleeper.clear()
    drain.begin("SIGTERM")
    assert not sleeper.is_set()
