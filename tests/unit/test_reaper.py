"""Machines that are paid for and do nothing."""

from collections.abc import Collection

from fleet.pool.provider import Machine
from fleet.pool.reaper import Patience, Reaper
from tests.machines import machine

PATIENCE = Patience(start_s=600.0, silent_s=100.0, step_s=60.0, most=5)


class Watch:
    """Looks every ten seconds, or when it is told to."""

    def __init__(self, *machines: Machine) -> None:
        self.machines = machines
        self._reaper = Reaper(PATIENCE)
        self._now = 0.0

    def look(self, heard: Collection[str] | None, *, after_s: float = 10.0) -> list[str]:
        self._now += after_s
        return [leak.id for leak in self._reaper.look(self.machines, heard, self._now)]

    def first(self, heard: Collection[str] | None, *, within_s: float) -> float | None:
        """Say how long it took to the first leak."""
        for passed in range(0, int(within_s), 10):
            if self.look(heard):
                return float(passed)
        return None


def test_a_machine_that_nobody_ever_heard_of_is_ended_after_the_time_to_start() -> None:
    took = Watch(machine("i-1")).first([], within_s=1000)
    assert took is not None
    assert 600 <= took <= 620


def test_a_machine_that_falls_silent_among_others_is_ended_sooner() -> None:
    watch = Watch(machine("i-1"), machine("i-2"))
    assert watch.look(["i-1", "i-2"]) == []
    took = watch.first(["i-2"], within_s=1000)
    assert took is not None
    assert 90 <= took <= 110


def test_a_machine_that_is_heard_is_never_ended() -> None:
    assert Watch(machine("i-1"), machine("i-2")).first(["i-1", "i-2"], within_s=5000) is None


def test_one_heartbeat_in_between_begins_the_wait_anew() -> None:
    watch = Watch(machine("i-1"), machine("i-2"))
    watch.look(["i-1", "i-2"])
    for _ in range(20):
        assert watch.first(["i-2"], within_s=90) is None
        assert watch.look(["i-1", "i-2"]) == []


def test_silence_counts_only_while_heartbeats_can_be_read() -> None:
    watch = Watch(machine("i-1"))
    assert watch.first(None, within_s=5000) is None
    took = watch.first([], within_s=1000)
    assert took is not None
    assert took >= 590


def test_a_manager_that_slept_for_a_day_reaps_nobody_at_its_first_look() -> None:
    watch = Watch(machine("i-1"), machine("i-2"))
    watch.look(["i-1", "i-2"])
    assert watch.look(["i-2"], after_s=86_400.0) == []


def test_a_clock_that_goes_back_hurts_nobody() -> None:
    watch = Watch(machine("i-1"))
    watch.look([])
    assert watch.look([], after_s=-5000.0) == []
    assert watch.look([]) == []


def test_when_all_fall_silent_the_machines_are_hardly_to_blame_and_get_more_time() -> None:
    watch = Watch(*(machine(f"i-{n}") for n in range(10)))
    watch.look([one.id for one in watch.machines])
    took = watch.first([], within_s=1000)
    assert took is not None
    assert took >= 590


def test_not_more_than_a_few_are_ended_at_once() -> None:
    watch = Watch(*(machine(f"i-{n}") for n in range(100)))
    watch.first([], within_s=1000)
    assert len(watch.look([])) == PATIENCE.most


def test_who_is_on_the_way_out_is_let_alone_for_as_long_as_it_may_take() -> None:
    assert Watch(machine("i-1", state="stopping")).first([], within_s=590) is None
    assert Watch(machine("i-2", state="ended")).first([], within_s=5000) is None


def test_a_leak_says_what_it_is_and_for_how_long_it_was_silent() -> None:
    reaper = Reaper(PATIENCE)
    for at in range(0, 1000, 10):
        leaks = reaper.look([machine("i-1")], [], float(at))
        if leaks:
            break
    assert "i-1" in leaks[0].text
    assert "never been heard of, for 610 s" in leaks[0].text


def test_a_machine_that_was_stopped_and_never_ends_is_ended_and_then_waited_for() -> None:
    stopped = machine("i-1", state="stopping")
    watch = Watch(stopped, machine("i-2"))
    watch.look(["i-1", "i-2"])
    took = watch.first(["i-2"], within_s=1000)
    assert took is not None
    assert 580 <= took <= 620
    assert watch.first(["i-2"], within_s=500) is None
