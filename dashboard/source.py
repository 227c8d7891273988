"""Where the screen's snapshots come from: a living fleet, or a recording of one."""

from collections.abc import AsyncGenerator
from typing import Protocol

from dashboard.snapshot import FleetSnapshot, Story


class Source(Protocol):
    """What the screen needs of a source.

    name: what is watched, in words; foreign. interval_s: the least time between two snapshots; it
    may be changed at any time.
    """

    name: str
    interval_s: float

    def snapshots(self) -> AsyncGenerator[FleetSnapshot]:
        """Yield the newest snapshot, at once and then every `interval_s`.

        A source that has lost its broker goes on: `connected` is False then, and `read_at` tells
        how old what it knows is. It ends where a recording does. Close it (`aclosing`) to let go of
        what it holds.
        """
        ...

    async def story(self, tenant: str, job: str, batch: str | None) -> Story:
        """Tell a job's life. Raises FleetError, whose text says what to do about it."""
        ...
