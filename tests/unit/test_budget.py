"""How much a part of the screen's data may cost."""

import pytest

from dashboard.live.budget import BYTES_PER_S, SLOWEST_S, Budget


def test_a_small_part_is_read_as_often_as_is_wanted() -> None:
    budget = Budget()
    budget.took(b"x" * 1_000, messages=3)
    assert budget.pause_s(2.0) == 2.0


def test_a_large_part_is_read_as_seldom_as_it_is_large() -> None:
    budget = Budget()
    for _ in range(1_000):
        budget.took(b"x" * 1_000)
    pause_s = budget.pause_s(1.0)
    assert budget.bytes / pause_s == pytest.approx(BYTES_PER_S)
    assert budget.pause_s(1.0) == 1.0, "what was paid for is paid for"


def test_no_part_is_left_alone_for_longer_than_a_minute() -> None:
    budget = Budget()
    budget.took(messages=10_000_000)
    assert budget.pause_s(1.0) == SLOWEST_S
