"""A source that says what a test wants, and screens on it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from dashboard.app import Dashboard
from dashboard.look import Look
from dashboard.snapshot import FleetSnapshot, Step, Story
from fleet.errors import FleetError


class Told:
    """Implements `Source`: yields what it is told, one after the other as `go` is called."""

    def __init__(
        self, *snapshots: FleetSnapshot, stories: Sequence[Story | FleetError] = ()
    ) -> None:
        self.name = "a test"
        self.interval_s = 1.0
        self._queue: asyncio.Queue[FleetSnapshot | None] = asyncio.Queue()
        self._stories = list(stories)
        for snapshot in snapshots:
            self.tell(snapshot)

    def tell(self, snapshot: FleetSnapshot | None) -> None:
        """Yield this next; None ends it as a recording ends."""
        self._queue.put_nowait(snapshot)

    async def snapshots(self) -> AsyncGenerator[FleetSnapshot]:
        while (snapshot := await self._queue.get()) is not None:
            yield snapshot

    async def story(self, tenant: str, job: str, batch: str | None) -> Story:
        """Tell the next story that was prepared; the last one again and again."""
        if not self._stories:
            return a_story(tenant, job, batch)
        told = self._stories.pop(0) if len(self._stories) > 1 else self._stories[0]
        if isinstance(told, FleetError):
            raise told
        return told


class Timer:
    """A clock that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def a_story(tenant: str, job: str, batch: str | None) -> Story:
    """Make the life of a job that was interrupted once."""
    return Story(
        tenant=tenant,
        job=job,
        batch=batch,
        why=("node-0005 has it, and nothing of it was saved for half an hour",),
        items=3,
        items_done=1,
        steps=(
            Step(at=1_799_990_000.0, what="delivered", node="node-0003"),
            Step(at=None, what="interrupted: aws", node="node-0003", bad=True),
            Step(at=1_799_990_060.0, what="taken over, 212 tokens saved", node="node-0005"),
        ),
        errors=("engine: request aborted",),
    )


def dashboard(
    *snapshots: FleetSnapshot, ascii_only: bool = False, timer: Timer | None = None
) -> Dashboard:
    """Make a screen whose time stands still unless `timer` moves."""
    return Dashboard(Told(*snapshots), look=Look(ascii_only), timer=timer or Timer())


def seen(app: Dashboard) -> str:
    """Give what a person sees, line by line."""
    strips = app.screen._compositor.render_strips()  # noqa: SLF001 -- there is no other door
    return "\n".join(strip.text for strip in strips)
