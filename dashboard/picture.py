"""What is on the screen just now: a snapshot, and how it is looked at. Pure."""

from typing import NamedTuple

from dashboard.overview import window_name
from dashboard.snapshot import FleetSnapshot, Part

# Which part of a snapshot each view is made of.
PART_OF: dict[str, Part] = {
    "fleet": "nodes",
    "queue": "queues",
    "jobs": "jobs",
    "cost": "costs",
    "events": "events",
}


class Picture(NamedTuple):
    """A snapshot and the operator's wishes. now: seconds since the epoch, by the snapshot's clock.

    frozen: it stands still. is_live: from a fleet, not from a recording. acts: whether actions are
    allowed. note: said last, "" when that is over.
    """

    snapshot: FleetSnapshot | None
    now: float = 0.0
    window_s: float = 60.0
    interval_s: float = 1.0
    frozen: bool = False
    is_live: bool = True
    acts: bool = False
    note: str = ""

    @property
    def window(self) -> str:
        """The window, as it stands beside each rate."""
        return window_name(self.window_s)

    def age_s(self, view: str) -> float | None:
        """How old what a view shows is; None where it was never read."""
        if self.snapshot is None:
            return None
        part = PART_OF.get(view)
        ages = [self.now - at for p, at in self.snapshot.read_at.items() if part in {None, p}]
        return max(0.0, min(ages)) if ages else None
