"""How often the market takes spot nodes back, by zone, as measured. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from fleet.pool.snapshot import Happening, Member, Reclaimed

# What is older than this counts for half.
HALF_LIFE_H: Final = 24.0
# No zone is judged by less.
LEAST_H: Final = 1.0
# A longer time between two looks says nothing about the nodes in between.
LONGEST_STEP_H: Final = 0.25


class Reclaims:
    """Node-hours of spot, and how many reclaims there were in them.

    Reclaims from before somebody looked are not counted: nobody counted the hours before them.
    """

    def __init__(self) -> None:
        self._hours: dict[str, float] = {}
        self._times: dict[str, float] = {}
        self._counted: set[tuple[str, float]] = set()
        self._at: float | None = None
        # Since when there was a look every few minutes.
        self._watched_since = 0.0

    def saw(self, members: Iterable[Member], happened: Iterable[Happening], *, now: float) -> None:
        """Add the time since the last look. happened: may be told again with the next look."""
        step_h = 0.0 if self._at is None else max(0.0, now - self._at) / 3600
        if self._at is None or step_h > LONGEST_STEP_H:
            step_h, self._watched_since = 0.0, now
        self._at, self._watched_since = now, min(now, self._watched_since)
        fade = 0.5 ** (step_h / HALF_LIFE_H)
        held = Counter(
            one.zone for one in members if one.capacity_type == "spot" and one.phase != "leaving"
        )
        for zone in self._hours.keys() | held.keys():
            self._hours[zone] = self._hours.get(zone, 0.0) * fade + held[zone] * step_h
            self._times[zone] = self._times.get(zone, 0.0) * fade
        seen = {
            (one.zone, one.at): one.count
            for one in happened
            if isinstance(one, Reclaimed) and one.at >= self._watched_since
        }
        for key, many in seen.items():
            if key not in self._counted:
                self._times[key[0]] = self._times.get(key[0], 0.0) + many
        self._counted = set(seen)

    def per_hour(self, zone: str) -> float:
        """Return the reclaims of one node in an hour; 0 before an hour was seen."""
        hours = self._hours.get(zone, 0.0)
        return self._times.get(zone, 0.0) / hours if hours >= LEAST_H else 0.0
