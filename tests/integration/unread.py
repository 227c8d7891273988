"""A screen on a source that counts into a file: `python -m tests.integration.unread FILE`."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Iterator
from itertools import count
from pathlib import Path

from msgspec.structs import replace

from dashboard.app import Dashboard
from dashboard.snapshot import FleetSnapshot, Story
from tests import made_up
from tests.screens import a_story


class Counting:
    """Implements `Source`: another fleet with each look, and FILE says how many there were."""

    name = "a count"
    interval_s = 1.0

    def __init__(self, file: Path) -> None:
        self._file = file

    async def snapshots(self) -> AsyncGenerator[FleetSnapshot]:
        for number in count():
            self._file.write_text(f"{number}\n")
            made = made_up.snapshot(seed=number % 7)
            yield replace(made, at=made.at + number)
            await asyncio.sleep(0)

    async def story(self, tenant: str, job: str, batch: str | None) -> Story:
        return a_story(tenant, job, batch)


def main(file: Path) -> None:
    """Run until somebody presses `q`; for this screen each look is a second later."""
    seconds: Iterator[int] = count()
    Dashboard(Counting(file), timer=lambda: float(next(seconds))).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
