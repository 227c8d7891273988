"""How often an engine may die."""

from consumers.restarts import MOST, WITHIN_S, Restarts


def test_an_engine_may_die_now_and_then_for_ever() -> None:
    restarts = Restarts()
    assert all(restarts.allowed(n * (WITHIN_S / MOST + 1)) for n in range(50))


def test_an_engine_that_dies_again_and_again_is_given_up() -> None:
    restarts = Restarts()
    assert [restarts.allowed(float(n)) for n in range(MOST + 2)] == [True] * MOST + [False] * 2


def test_one_that_was_refused_does_not_count() -> None:
    restarts = Restarts()
    for n in range(MOST):
        restarts.allowed(float(n))
    assert not restarts.allowed(WITHIN_S - 1)
    assert restarts.allowed(WITHIN_S)
    assert not restarts.allowed(WITHIN_S)
