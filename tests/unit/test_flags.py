"""What is remembered of cancellations, by consumers that live for months."""

import time

import pytest

from consumers.flags import Marks


class Clock:
    """Stands in for the monotonic clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_mark_is_new_once_and_holds_until_it_is_taken_away(clock: Clock) -> None:
    marks = Marks(keep_s=60)
    assert [marks.add("t.job"), marks.add("t.job")] == [True, False]
    assert "t.job" in marks
    assert "t.other" not in marks
    marks.discard("t.job")
    marks.discard("t.job")
    assert "t.job" not in marks
    assert marks.add("t.job")


def test_a_mark_is_forgotten_when_the_broker_has_forgotten_it(clock: Clock) -> None:
    marks = Marks(keep_s=60)
    marks.add("t.job")
    clock.now += 59
    marks.add("t.later")
    assert "t.job" in marks
    clock.now += 1
    assert ("t.job" in marks, "t.later" in marks) == (False, True)
    assert marks.add("t.job")


def test_what_is_told_again_is_kept_for_as_long_again(clock: Clock) -> None:
    marks = Marks(keep_s=60)
    for _ in range(3):
        marks.add("t.job")
        marks.add("t.other")
        clock.now += 50
    assert "t.job" in marks


def test_forgotten_marks_take_no_room(clock: Clock) -> None:
    marks = Marks(keep_s=60)
    for number in range(100):
        marks.add(f"t.job-{number}")
        clock.now += 10
    assert len(marks._until) <= 7  # noqa: SLF001 - there is nothing else to see it by
