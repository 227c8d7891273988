"""The stream EVENTS, read on: what the screen shows of it, and what sums are made of."""

from collections import deque
from collections.abc import Collection
from typing import Final, TypeVar

from dashboard.event_rows import ROUTINE
from dashboard.live.budget import Budget
from dashboard.pace import Pace
from dashboard.snapshot import EventFact
from fleet.broker.connection import Connection
from fleet.broker.eventlog import EventLog, Recorded
from fleet.broker.stored import first_behind
from fleet.events import (
    AnyEvent,
    JobDead,
    JobRetried,
    JobTakenOver,
    NodeGone,
    NodeMetered,
    UsageRecorded,
)
from fleet.job import Tier
from fleet.lives import Told, believed
from fleet.subjects import EVENTS

Key = TypeVar("Key")
SHOWN: Final = 1_000
# What is kept for the ledger. A thousand nodes say so much in half an hour, ten in two days.
MOST_TOLD: Final = 200_000
# What is kept of jobs that had trouble.
MOST_ERRORS: Final = 10_000
_MOST_PACES: Final = 20_000
# A batch may be heard of before its manifest is read; one that is quiet for so long is known.
_KNOWN_S: Final = 60.0


class Progress:
    """What was finished of something. items: with a line, good or bad; failed: bad ones.

    heard_at: when the last of it was, by the server's clock.
    """

    def __init__(self, since: float) -> None:
        self.heard_at = since
        self.jobs = self.items = self.failed = self.interruptions = 0
        self.jobs_pace, self.items_pace = Pace(), Pace()
        self.jobs_pace.add(since, 0)
        self.items_pace.add(since, 0)

    def add(self, at: float, event: UsageRecorded) -> None:
        """Add a record that was written at a moment."""
        self.heard_at = at
        self.jobs += event.jobs
        self.items += event.items
        self.failed += event.failed_items
        self.tick(at)

    def tick(self, at: float) -> None:
        """Let time pass."""
        self.jobs_pace.add(at, self.jobs)
        self.items_pace.add(at, self.items)


class Heard:
    """A fold of events. since: from when on they were read, seconds since the epoch.

    told: what a ledger is made of. tokens: totals of each node. ends: how nodes ended, by name.
    """

    def __init__(self) -> None:
        self.since: float | None = None
        self.told: deque[AnyEvent] = deque(maxlen=MOST_TOLD)
        self.shown: deque[EventFact] = deque(maxlen=SHOWN)
        self.tokens: dict[str, Pace] = {}
        self.ends: dict[str, str] = {}
        self.errors: dict[tuple[str, str], str] = {}
        self.queues: dict[tuple[Tier, str, str], Progress] = {}
        self.batches: dict[tuple[str, str], Progress] = {}

    def show(self, recorded: Recorded) -> None:
        """Keep an event for the screen, if it is news for people."""
        if not isinstance(recorded.event, ROUTINE):
            self.shown.append(EventFact(recorded.sequence, recorded.event))

    def take(self, recorded: Recorded) -> None:
        """Add an event up. They come in the order of the stream."""
        event = believed(recorded.event, recorded.written_at)
        if self.since is None:
            self.since = recorded.written_at
        if isinstance(event, Told):
            if len(self.told) == MOST_TOLD:
                self.since = max(self.since, self.told[0].at)
            self.told.append(event)
        match event:
            case UsageRecorded():
                self._use(event, recorded.written_at)
            case NodeMetered():
                # By the clock by which heartbeats are placed.
                _kept(self.tokens, event.node).add(recorded.written_at, event.tokens_generated)
            case NodeGone():
                _bounded(self.ends, event.node, event.cause, MOST_ERRORS)
            case JobRetried() | JobDead():
                about = f"{event.code}: {event.reason}"
                _bounded(self.errors, (event.tenant, event.job), about, MOST_ERRORS)
            case JobTakenOver():
                self._interrupted(event)
            case _:
                pass

    def keep(self, shown: Collection[tuple[str, str]], now: float) -> None:
        """Let go of batches that are not shown: a screen stays open for weeks, and sees many."""
        self.batches = {
            batch: progress
            for batch, progress in self.batches.items()
            if batch in shown or now - progress.heard_at < _KNOWN_S
        }

    def _use(self, event: UsageRecorded, at: float) -> None:
        since = at if self.since is None else self.since
        queue = (event.tier, event.model, event.tenant)
        self.queues.setdefault(queue, Progress(since)).add(at, event)
        if event.batch is not None:
            batch = (event.tenant, event.batch)
            self.batches.setdefault(batch, Progress(since)).add(at, event)

    def _interrupted(self, event: JobTakenOver) -> None:
        """Count it for the job's batch, whose name its own begins with."""
        batch = self.batches.get((event.tenant, event.job.rpartition("-")[0]))
        if batch is not None:
            batch.interruptions += 1


class EventLook:
    """Reads EVENTS on. The newest are shown at once; those before them are added up after that."""

    def __init__(self, heard: Heard, budget: Budget) -> None:
        self._heard = heard
        self._budget = budget
        self._after = 0
        self._shown_to = 0
        self._created: str | None = None
        self._is_sure = False

    def restart(self) -> None:
        """Ask with the next look whether it is still the same stream."""
        self._is_sure = False

    async def begin(self, connection: Connection) -> None:
        """Read the newest, for people to see. Raises BrokerRefused, BrokerUnreachable."""
        events = EventLog(connection)
        self._shown_to = max(0, await events.last() - SHOWN)
        async for recorded in events.read(self._shown_to):
            self._budget.took(messages=2)
            self._show(recorded)

    async def find(self, connection: Connection, since: float) -> None:
        """Let looks add up from `since` on, or from the MOST_TOLD newest events on.

        Raises BrokerRefused, BrokerUnreachable.
        """
        last = await EventLog(connection).last()
        first, count = await first_behind(connection, EVENTS, "events.>", since=since)
        self._after = last if first is None else first.sequence - 1
        if count > MOST_TOLD:
            self._after = last - MOST_TOLD
        else:
            self._heard.since = since

    async def look(self, connection: Connection, now: float) -> None:
        """Read what is new. Raises BrokerRefused, BrokerUnreachable."""
        if not self._is_sure:
            await self._make_sure(connection)
        async for recorded in EventLog(connection).read(self._after):
            self._budget.took(messages=2)
            self._after = recorded.sequence
            self._heard.take(recorded)
            self._show(recorded)
        for progress in (*self._heard.queues.values(), *self._heard.batches.values()):
            progress.tick(now)

    async def _make_sure(self, connection: Connection) -> None:
        """Read another stream of the same name from its beginning."""
        info = await connection.api(f"STREAM.INFO.{EVENTS}")
        created = str(info.get("created"))
        if self._created is not None and created != self._created:
            self._after = self._shown_to = 0
        self._created, self._is_sure = created, True

    def _show(self, recorded: Recorded) -> None:
        if recorded.sequence > self._shown_to:
            self._shown_to = recorded.sequence
            self._heard.show(recorded)


def _kept(paces: dict[str, Pace], node: str) -> Pace:
    if node not in paces and len(paces) >= _MOST_PACES:
        del paces[next(iter(paces))]
    return paces.setdefault(node, Pace())


def _bounded(kept: dict[Key, str], key: Key, value: str, most: int) -> None:
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > most:
        del kept[next(iter(kept))]
