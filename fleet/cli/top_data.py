"""What `fleet top` writes where nobody looks at a screen: tables, JSON, and recordings."""

import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Final

import click
import msgspec

if TYPE_CHECKING:
    from dashboard.snapshot import FleetSnapshot, Part, Story
    from dashboard.source import Source

# What is shown once waits for all parts for at most so long.
WHOLE_S: Final = 5.0
LOOK_S: Final = 0.2
# What a check rests on: the rest is for people, or takes longer.
CHECKED: "Final[tuple[Part, ...]]" = ("nodes", "queues", "jobs", "batches", "pools", "events")
ALL_PARTS: "Final[tuple[Part, ...]]" = (*CHECKED, "costs")
# As wide as anybody's terminal: in a file no column has to be left out.
_WIDE: Final = 200


async def once(source: "Source", *, window_s: float, as_json: bool, ascii_only: bool) -> None:
    """Write a fleet as it is now: the views as tables, or one JSON object.

    Raises BrokerUnreachable, BrokerRefused.
    """
    snapshot = await whole(source)
    if as_json:
        click.echo(_json(snapshot, window_s))
        return
    from dashboard.look import Look
    from dashboard.printed import tables

    is_terminal = sys.stdout.isatty()
    width = get_terminal_size().columns if is_terminal else _WIDE
    click.echo(tables(snapshot, window_s, width=width, look=Look(ascii=ascii_only)))


async def stream(source: "Source", *, window_s: float) -> None:
    """Write a JSON object a line for every snapshot, until the source ends."""
    async with aclosing(source.snapshots()) as snapshots:
        async for snapshot in snapshots:
            click.echo(_json(snapshot, window_s))


async def record(source: "Source", path: Path, *, say: Callable[[str], None]) -> None:
    """Write what a source tells into a new file until it ends. Raises UsageError."""
    say(f"recording {source.name} into {path}; Ctrl-C ends it")
    async with aclosing(Recorded(source, path).snapshots()) as snapshots:
        async for _ in snapshots:
            pass


async def whole(source: "Source", needed: Iterable["Part"] = ALL_PARTS) -> "FleetSnapshot":
    """Wait until each part was read, or could not be, and return the snapshot then.

    The source looks quickly meanwhile. After WHOLE_S seconds what there is has to do.
    """
    source.interval_s = LOOK_S
    give_up = time.monotonic() + WHOLE_S
    async with aclosing(source.snapshots()) as snapshots:
        async for snapshot in snapshots:
            looked = snapshot.read_at.keys() | snapshot.troubles.keys()
            if time.monotonic() >= give_up or (looked >= set(needed) and _is_steady(snapshot)):
                break
    return snapshot


class Recorded:
    """A source that is recorded while somebody looks at it."""

    def __init__(self, source: "Source", path: Path) -> None:
        self.name = source.name
        self._source = source
        self._path = path

    @property
    def interval_s(self) -> float:
        """The least time between two snapshots."""
        return self._source.interval_s

    @interval_s.setter
    def interval_s(self, seconds: float) -> None:
        self._source.interval_s = seconds

    async def snapshots(self) -> AsyncGenerator["FleetSnapshot"]:
        """Yield what the source yields. Raises UsageError for a file that exists."""
        from dashboard.recorded import RecordFile

        with RecordFile(self._path) as file:
            async with aclosing(self._source.snapshots()) as snapshots:
                async for snapshot in snapshots:
                    file.add(snapshot)
                    yield snapshot

    async def story(self, tenant: str, job: str, batch: str | None) -> "Story":
        """Tell a job's life, as the source does."""
        return await self._source.story(tenant, job, batch)


def _is_steady(snapshot: "FleetSnapshot") -> bool:
    """Tell whether all counts are believed: what seems to be stuck is looked at more than once."""
    return all(queue.stuck is not None or not queue.exists for queue in snapshot.queues)


def _json(snapshot: "FleetSnapshot", window_s: float) -> bytes:
    from dashboard.printed import whole as said

    return msgspec.json.encode(said(snapshot, window_s))
