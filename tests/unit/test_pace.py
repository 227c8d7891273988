"""Rates over windows, and moments for sparklines."""

import pickle

import pytest

from dashboard.pace import MOMENTS, Pace, Past
from dashboard.snapshot import Moment, Rates, Spend


def test_a_steady_total_has_the_same_rate_in_every_window() -> None:
    pace = Pace()
    for second in range(4_000):
        pace.add(float(second), second * 7.0)
    assert pace.rates() == Rates(7.0, 7.0, 7.0)


def test_a_rate_falls_in_short_windows_first() -> None:
    pace = Pace()
    for second in range(7_200):
        pace.add(float(second), min(second, 7_000) * 2.0)
    rates = pace.rates()
    assert rates.minute == 0.0
    assert rates.five == pytest.approx(2.0 * 100 / 300, rel=0.15)
    assert rates.hour == pytest.approx(2.0 * 3_400 / 3_600, rel=0.15)


def test_one_look_is_no_rate() -> None:
    pace = Pace()
    assert pace.rates() == Rates()
    pace.add(5.0, 100.0)
    assert pace.rates() == Rates()


def test_a_total_that_falls_begins_anew() -> None:
    pace = Pace()
    pace.add(0.0, 1_000.0)
    pace.add(10.0, 2_000.0)
    pace.add(11.0, 5.0)
    assert pace.rates() == Rates()
    pace.add(21.0, 15.0)
    assert pace.rates().minute == 1.0


def test_moments_that_come_late_change_nothing() -> None:
    pace = Pace()
    pace.add(10.0, 10.0)
    pace.add(9.0, 999.0)
    pace.add(20.0, 20.0)
    assert pace.rates().minute == 1.0


def test_a_pace_keeps_little_however_long_it_runs() -> None:
    pace = Pace()
    for second in range(20_000):
        pace.add(float(second), float(second))
    assert len(pickle.dumps(pace)) < 1_500


def test_the_past_has_sixty_moments_of_each_window() -> None:
    past = Past()
    for second in range(8_000):
        past.add(Moment(at=float(second)))
    told = past.told()
    for moments, step in ((told.minute, 1), (told.five, 5), (told.hour, 60)):
        assert len(moments) == MOMENTS
        assert moments[-1].at - moments[-2].at == pytest.approx(step)


def test_the_ledger_fills_in_what_was_before_the_watch_once() -> None:
    past = Past()
    past.add(Moment(at=3_600.0, usd_per_hour=5.0))
    spend = [Spend(60.0 * n, 4.0, 3) for n in range(61)]
    past.recall(spend)
    past.recall(spend)
    hour = past.told().hour
    assert len(hour) == MOMENTS
    assert [one.at for one in hour] == sorted(one.at for one in hour)
    assert (hour[0].usd_per_hour, hour[0].tokens_per_s, hour[-1].usd_per_hour) == (4.0, None, 5.0)
