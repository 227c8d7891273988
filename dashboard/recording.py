"""Snapshots to lines and back: the first says what this is, each further one what changed. Pure.

A line is a JSON object. What is not in it is as before; the past for sparklines is made again.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from dashboard.job_rows import key_of
from dashboard.moment import moment
from dashboard.pace import Past
from dashboard.snapshot import (
    BatchFact,
    CostFact,
    EventFact,
    FleetSnapshot,
    JobFact,
    NodeFact,
    Part,
    PoolFact,
    QueueFact,
)
from fleet.errors import UsageError
from fleet.job import Tier
from fleet.subjects import plain

VERSION: Final = 1
MOST_EVENTS: Final = 1_000
T = TypeVar("T")


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line. source: what was watched; at: since when, seconds since the epoch."""

    overbook_recording: int
    source: str
    at: float


class Changes(msgspec.Struct, Generic[T], frozen=True, omit_defaults=True):
    """Rows that are new or other than before, and the keys of those that are gone."""

    new: tuple[T, ...] = ()
    gone: tuple[str, ...] = ()


class Delta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A further line: what became of the snapshot until `at`. costs: None for no news of them."""

    at: float
    connected: bool = True
    read_at: dict[Part, float] = {}
    troubles: dict[Part, str] = {}
    jobs_in_all: int | None = None
    dead_in_all: int | None = None
    oldest_at: dict[Tier, float] = {}
    nodes: Changes[NodeFact] = Changes()
    queues: Changes[QueueFact] = Changes()
    jobs: Changes[JobFact] = Changes()
    batches: Changes[BatchFact] = Changes()
    pools: Changes[PoolFact] = Changes()
    costs: CostFact | None = None
    events: tuple[EventFact, ...] = ()


class _Table(Generic[T]):
    """Rows by key."""

    def __init__(self, key: Callable[[T], str]) -> None:
        self._key = key
        self._rows: dict[str, T] = {}

    def changes(self, rows: Iterable[T]) -> Changes[T]:
        """Say how these differ from those before, and keep them."""
        now = {self._key(row): row for row in rows}
        before, self._rows = self._rows, now
        new = tuple(row for key, row in now.items() if before.get(key) != row)
        return Changes(new, tuple(key for key in before if key not in now))

    def apply(self, changes: Changes[T]) -> tuple[T, ...]:
        """Give all rows as they are after these changes."""
        for key in changes.gone:
            self._rows.pop(key, None)
        self._rows |= {self._key(row): row for row in changes.new}
        return tuple(self._rows.values())


class _Tables:
    def __init__(self) -> None:
        self.nodes = _Table[NodeFact](lambda one: one.node.node)
        self.queues = _Table[QueueFact](lambda one: f"{one.tier}.{one.model}")
        self.jobs = _Table[JobFact](key_of)
        self.batches = _Table[BatchFact](lambda one: f"{one.tenant}.{one.batch}")
        self.pools = _Table[PoolFact](lambda one: one.model)


class Writer:
    """Turns snapshots, in their order, into lines."""

    def __init__(self) -> None:
        self._tables = _Tables()
        self._begun = False
        self._costs: CostFact | None = None
        self._last_event = 0

    def lines(self, snapshot: FleetSnapshot) -> list[bytes]:
        """Give the lines that a snapshot adds, each with its end."""
        tables, lines = self._tables, []
        if not self._begun:
            self._begun = True
            header = Header(overbook_recording=VERSION, source=snapshot.source, at=snapshot.at)
            lines.append(msgspec.json.encode(header) + b"\n")
        events = tuple(one for one in snapshot.events if one.sequence > self._last_event)
        if events:
            self._last_event = events[-1].sequence
        delta = Delta(
            at=snapshot.at,
            connected=snapshot.connected,
            read_at=snapshot.read_at,
            troubles=snapshot.troubles,
            jobs_in_all=snapshot.jobs_in_all,
            dead_in_all=snapshot.dead_in_all,
            oldest_at=snapshot.oldest_at,
            nodes=tables.nodes.changes(snapshot.nodes),
            queues=tables.queues.changes(snapshot.queues),
            jobs=tables.jobs.changes(snapshot.jobs),
            batches=tables.batches.changes(snapshot.batches),
            pools=tables.pools.changes(snapshot.pools),
            costs=snapshot.costs if snapshot.costs != self._costs else None,
            events=events,
        )
        self._costs = snapshot.costs
        lines.append(msgspec.json.encode(delta) + b"\n")
        return lines


class Reader:
    """Turns lines back into snapshots. name: of the recording, for messages."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tables = _Tables()
        self._header: Header | None = None
        self._costs: CostFact | None = None
        self._events: deque[EventFact] = deque(maxlen=MOST_EVENTS)
        self._past = Past()
        self._number = 0

    def read(self, line: bytes) -> FleetSnapshot | None:
        """Take the next line; None for the first, which holds no snapshot. Raises UsageError."""
        self._number += 1
        if self._header is None:
            self._header = self._decode(line, Header)
            if self._header.overbook_recording != VERSION:
                raise UsageError(
                    f"{self._name} is a recording of form {self._header.overbook_recording}, this "
                    f"program reads form {VERSION}: use the version that made it"
                )
            return None
        return self._next(self._header, self._decode(line, Delta))

    def _next(self, header: Header, delta: Delta) -> FleetSnapshot:
        tables = self._tables
        self._events.extend(delta.events)
        self._costs = delta.costs or self._costs
        made = FleetSnapshot(
            at=delta.at,
            source=header.source,
            connected=delta.connected,
            read_at=delta.read_at,
            troubles=delta.troubles,
            nodes=tables.nodes.apply(delta.nodes),
            queues=tables.queues.apply(delta.queues),
            jobs=tables.jobs.apply(delta.jobs),
            jobs_in_all=delta.jobs_in_all,
            dead_in_all=delta.dead_in_all,
            oldest_at=delta.oldest_at,
            batches=tables.batches.apply(delta.batches),
            pools=tables.pools.apply(delta.pools),
            costs=self._costs,
            events=tuple(self._events),
        )
        self._past.add(moment(made))
        if self._costs is not None:
            self._past.recall(self._costs.spend)
        return msgspec.structs.replace(made, history=self._past.told())

    def _decode(self, line: bytes, type_: type[T]) -> T:
        try:
            return msgspec.json.decode(line, type=type_)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise UsageError(
                f"{self._name}, line {self._number}, is not what `fleet top --record` writes "
                f"({plain(str(error))}): record it again"
            ) from error


def replayed(lines: Sequence[bytes], name: str) -> list[FleetSnapshot]:
    """Read a whole recording. Raises UsageError."""
    reader = Reader(name)
    return [made for line in lines if (made := reader.read(line)) is not None]
