"""The dashboard on a fleet that was made up, as a process in a terminal; it says how fast it was.

`python -m tests.bench.screen_app FILE NODES QUEUES JOBS`: FILE takes the figures as JSON.
"""

import asyncio
import random
import resource
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import msgspec

import dashboard.app
from dashboard.app import Dashboard
from dashboard.snapshot import FleetSnapshot, NodeFact, Rates, Story
from tests.made_up import snapshot

# As in a fleet, a second changes the numbers of every node and of some jobs.
VARIANTS: Final = 4
SHARE_OF_JOBS: Final = 0.05


class Report(msgspec.Struct, frozen=True):
    """What the process measured of itself. start_s: from the imports to the first picture.

    update_ms: of each picture, from a snapshot that is there to text that is sent; cpu_ms: of the
    processor, which a busy machine makes no longer.
    """

    start_s: float
    update_ms: tuple[float, ...]
    cpu_ms: tuple[float, ...]
    rss_mib: float


class Moving:
    """A source whose snapshots are there at once."""

    name = "made up"
    interval_s = 1.0

    def __init__(self, snapshots: list[FleetSnapshot]) -> None:
        self._snapshots = snapshots

    async def snapshots(self) -> AsyncGenerator[FleetSnapshot]:
        """Yield one a second."""
        number = 0
        while True:
            found = self._snapshots[number % VARIANTS]
            yield _later(found, number)
            number += 1
            await asyncio.sleep(self.interval_s)

    async def story(self, tenant: str, job: str, batch: str | None) -> Story:
        """Nothing is known of anybody."""
        return Story(tenant=tenant, job=job, batch=batch, why=())


def _later(found: FleetSnapshot, seconds: int) -> FleetSnapshot:
    """Move a snapshot on: nodes beat, and what was read is read again."""
    replace = msgspec.structs.replace
    return replace(
        found,
        at=found.at + seconds,
        read_at={part: at + seconds for part, at in found.read_at.items()},
        nodes=tuple(
            replace(fact, heard_at=fact.heard_at + seconds) if fact.lost_at is None else fact
            for fact in found.nodes
        ),
    )


class Timed(Dashboard):
    """Notes how long each picture takes."""

    # A subclass would look for it beside itself.
    CSS_PATH = Path(dashboard.app.__file__).with_name("fleet.tcss")

    def __init__(self, source: Moving, began: float) -> None:
        super().__init__(source)
        self.began = began
        self.start_s = 0.0
        self.took_ms: list[float] = []
        self.cpu_ms: list[float] = []

    def _draw(self) -> None:
        began, worked = time.perf_counter(), time.process_time()

        def drawn() -> None:
            if self._latest is None:
                return
            if not self.start_s:
                self.start_s = time.monotonic() - self.began
            else:
                self.took_ms.append((time.perf_counter() - began) * 1e3)
                self.cpu_ms.append((time.process_time() - worked) * 1e3)

        super()._draw()
        self.call_after_refresh(drawn)


def varied(first: FleetSnapshot, seed: int) -> FleetSnapshot:
    """Change what a second changes."""
    dice = random.Random(seed)
    jobs = [
        msgspec.structs.replace(job, checkpoint_at=first.at - dice.uniform(0, 5))
        if dice.random() < SHARE_OF_JOBS
        else job
        for job in first.jobs
    ]
    queues = [
        msgspec.structs.replace(queue, waiting=(queue.waiting or 0) + dice.randint(0, 9))
        for queue in first.queues
    ]
    nodes = tuple(_beaten(fact, dice) for fact in first.nodes)
    return msgspec.structs.replace(first, nodes=nodes, jobs=tuple(jobs), queues=tuple(queues))


def _beaten(fact: NodeFact, dice: random.Random) -> NodeFact:
    node = msgspec.structs.replace(
        fact.node,
        items=dice.randint(0, fact.node.slots),
        tokens_generated=fact.node.tokens_generated + dice.randint(50, 500),
    )
    rates = Rates(*(dice.uniform(50, 400) for _ in range(3)))
    return msgspec.structs.replace(fact, node=node, tokens_per_s=rates)


def main(file: str, nodes: int, queues: int, jobs: int) -> None:
    """Run until somebody presses `q`."""
    first = snapshot(nodes=nodes, queues=queues, jobs=jobs, batches=50, events=200)
    moving = Moving([first, *(varied(first, seed) for seed in range(1, VARIANTS))])
    app = Timed(moving, time.monotonic())
    app.run()
    rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report = Report(app.start_s, tuple(app.took_ms), tuple(app.cpu_ms), rss_mib)
    Path(file).write_bytes(msgspec.json.encode(report))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
