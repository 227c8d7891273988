"""Totals that grow, to rates over windows. Pure: every moment is said by the caller."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from dashboard.snapshot import WINDOWS_S, History, Moment, Rates, Spend

# How far apart the samples of each window are: a dozen for each.
_STEPS_S: Final = (5.0, 30.0, 300.0)
# Moments of the past that are kept for each window, and how far apart they are.
MOMENTS: Final = 60
_MOMENT_STEPS_S: Final = tuple(window / MOMENTS for window in WINDOWS_S)
# A clock that ticks each second is early or late by a little each time.
_EARLY_S: Final = 0.2


class Pace:
    """How fast a total grows. Moments have to come in order; an earlier one is left out."""

    def __init__(self) -> None:
        self._at = float("-inf")
        self._total = 0.0
        self._samples: tuple[deque[tuple[float, float]], ...] = tuple(deque() for _ in WINDOWS_S)

    def add(self, at: float, total: float) -> None:
        """Note the total at a moment. One that is smaller than before begins anew."""
        if at <= self._at:
            return
        if total < self._total:
            for samples in self._samples:
                samples.clear()
        self._at, self._total = at, total
        for samples, step_s, window_s in zip(self._samples, _STEPS_S, WINDOWS_S, strict=True):
            if not samples or at - samples[-1][0] >= step_s - _EARLY_S:
                samples.append((at, total))
            while samples[0][0] < at - window_s:
                samples.popleft()

    def rates(self) -> Rates:
        """Give the rates up to the last moment that was noted."""
        return Rates(*(self._rate(samples) for samples in self._samples))

    def _rate(self, samples: deque[tuple[float, float]]) -> float | None:
        if not samples or samples[0][0] >= self._at:
            return None
        at, total = samples[0]
        return (self._total - total) / (self._at - at)


class Past:
    """The last minute, five minutes and hour, as moments for sparklines."""

    def __init__(self) -> None:
        self._rings: tuple[deque[Moment], ...] = tuple(deque(maxlen=MOMENTS) for _ in WINDOWS_S)
        self._recalled = False

    def add(self, moment: Moment) -> None:
        """Note a moment, where it is due."""
        for ring, step_s in zip(self._rings, _MOMENT_STEPS_S, strict=True):
            if not ring or moment.at - ring[-1].at >= step_s - _EARLY_S:
                ring.append(moment)

    def recall(self, spend: Sequence[Spend]) -> None:
        """Fill in what the ledger knows of the time before the first moment, once."""
        hour = self._rings[-1]
        if self._recalled or not hour or not spend:
            return
        self._recalled = True
        before = [one for one in spend if one.at < hour[0].at - _MOMENT_STEPS_S[-1] / 2]
        kept = [Moment(at=one.at, nodes=one.nodes, usd_per_hour=one.usd_per_hour) for one in before]
        hour.extendleft(reversed(kept[-(MOMENTS - len(hour)) :]))

    def told(self) -> History:
        """Give what is kept."""
        return History(*(tuple(ring) for ring in self._rings))
