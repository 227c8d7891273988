"""Draw what README.md shows: `python -m tests.showcase.picture docs/pictures`."""

import asyncio
import re
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

from dashboard.app import Dashboard
from dashboard.recorded import read
from dashboard.snapshot import FleetSnapshot, Story
from dashboard.steps import story_of
from fleet.cli.top import incident

SIZE: Final = (110, 30)
# A minute into the incident: a node leaves, another is gone, and a third hangs.
MOMENT: Final = 62
VIEWS: Final = {"fleet": "1", "jobs": "3", "cost": "4"}
# Whoever looks at a picture should not fetch fonts from elsewhere for it.
_FONT: Final = re.compile(r"@font-face \{[^}]*\}\s*")


class Still:
    """A source that shows one moment. Implements `dashboard.source.Source`."""

    name = "a recorded incident"
    interval_s = 1.0

    def __init__(self, snapshot: FleetSnapshot) -> None:
        self._snapshot = snapshot

    async def snapshots(self) -> AsyncGenerator[FleetSnapshot]:
        """Yield it, and nothing more."""
        yield self._snapshot
        await asyncio.Event().wait()

    async def story(self, tenant: str, job: str, batch: str | None) -> Story:
        """Tell what was recorded of a job."""
        return story_of(self._snapshot, tenant, job, batch)


async def draw(folder: Path) -> None:
    """Write one SVG a view."""
    snapshot = list(read(incident()))[MOMENT]
    app = Dashboard(Still(snapshot), is_live=False)
    async with app.run_test(size=SIZE) as pilot:
        for view, key in VIEWS.items():
            await pilot.press(key)
            await pilot.pause(0.3)
            text = _FONT.sub("", app.export_screenshot(title="fleet top --demo"))
            (folder / f"top-{view}.svg").write_text(text)


if __name__ == "__main__":
    asyncio.run(draw(Path(sys.argv[1])))
