"""Numbers as the screen writes them."""

import pytest

from dashboard import units


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (0.42, "0.4s"), (9.97, "10s"), (59.6, "1m00"), (252, "4m12"), (883, "14m"),
     (11_100, "3h05"), (187_300, "2d04h"), (-3, "0s"), (0, "0s")],
)  # fmt: skip
def test_an_age_is_short(seconds: float | None, shown: str) -> None:
    assert units.age(seconds) == shown


@pytest.mark.parametrize(
    ("left", "shown"), [(None, "-"), (0, "now"), (103.9, "1:43"), (9, "0:09"), (7300, "2h01")]
)
def test_a_countdown_rounds_down(left: float | None, shown: str) -> None:
    assert units.countdown(left) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(None, "-"), (0, "0"), (999, "999"), (1000, "1.00k"), (12_345, "12.3k"), (999_600, "1.00M"),
     (123_456, "123k"), (4_560_000, "4.56M")],
)  # fmt: skip
def test_a_count_has_at_most_five_characters(number: float | None, shown: str) -> None:
    assert units.count(number) == shown


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(None, "-"), (0, "$0.00"), (0.0123, "$0.0123"), (9.8, "$9.80"), (132.4, "$132"),
     (123_456, "$123k"), (-2, "-$2.00")],
)  # fmt: skip
def test_money_has_as_many_decimals_as_it_deserves(amount: float | None, shown: str) -> None:
    assert units.usd(amount) == shown


def test_unknown_is_a_dash_and_never_zero() -> None:
    for write in (units.age, units.countdown, units.count, units.rate, units.usd, units.percent):
        assert write(None) == units.DASH


@pytest.mark.parametrize(("ago", "shown"), [(None, "-"), (0.2, "1s"), (1.2, "2s"), (43, "43s")])
def test_a_beat_is_told_in_whole_seconds(ago: float | None, shown: str) -> None:
    assert units.beat(ago) == shown
