"""Who takes the place of a consumer that ended, and how soon."""

import pytest

from fleet.pool.replace import GAP_S, LONGEST_S, SHORT_S, Life, Replace


@pytest.mark.parametrize(
    ("replace", "code", "has_successor"),
    [
        ("nobody", 0, False),
        ("nobody", -9, False),
        ("nobody", 1, False),
        ("died", 0, False),
        ("died", -9, True),
        ("died", 1, True),
        ("all", 0, True),
        ("all", -9, True),
    ],
)
def test_a_drained_consumer_is_replaced_only_where_all_are(
    replace: Replace, code: int, has_successor: bool
) -> None:
    assert (Life().succeeded(replace, code, 100.0) is not None) is has_successor


def pauses(code: int, lived_s: float, count: int) -> list[float]:
    """Return how long each of `count` successors in a row waits."""
    life, found = Life(), []
    for _ in range(count):
        following = life.succeeded("died", code, lived_s)
        assert following is not None
        life, in_s = following
        found.append(in_s)
    return found


def test_one_that_fails_again_and_again_waits_longer_and_longer() -> None:
    assert pauses(1, 0.5, 7) == [1, 2, 4, 8, 16, LONGEST_S, LONGEST_S]


def test_one_that_worked_for_a_while_is_replaced_at_once() -> None:
    assert pauses(1, SHORT_S + 1, 3) == [0, 0, 0]


def test_one_that_was_killed_is_replaced_at_once_but_not_faster_than_the_gap() -> None:
    assert pauses(-9, 10, 3) == [0, 0, 0]
    assert pauses(-9, 0.25, 3) == [GAP_S - 0.25] * 3


def test_a_success_ends_the_row_of_failures() -> None:
    life = Life(failures=4)
    following = life.succeeded("died", 1, SHORT_S + 1)
    assert following is not None
    again = following[0].succeeded("died", 1, 1.0)
    assert again is not None
    assert again[1] == GAP_S
