"""A fleet at one moment: what a source tells the screen, and what a recording holds. Pure.

These are facts as they were read. Strings in them are foreign and raw: whoever shows one passes it
through `dashboard.safe`. What is not known is None, never 0.
"""

from typing import Final, Literal, TypeAlias, get_args

import msgspec

from fleet.bounds import Count
from fleet.cost import Report, Row
from fleet.events import AnyEvent
from fleet.job import Tier
from fleet.manifest import BatchState
from fleet.node import Node

# The windows over which rates are told, in seconds.
WINDOWS_S: Final = (60.0, 300.0, 3600.0)
# How long a node that was lost without a word is told of.
LOST_KEPT_S: Final = 600.0
# held: a node has it. between: given back, or its node is silent; the next one will have it.
JobState: TypeAlias = Literal["waiting", "held", "between"]
Part: TypeAlias = Literal["nodes", "queues", "jobs", "batches", "pools", "costs", "events"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)


class Rates(msgspec.Struct, frozen=True, array_like=True):
    """Something a second, over the last minute, five minutes and hour; None where not known yet.

    A window that was not watched from its beginning is told over as much of it as was.
    """

    minute: float | None = None
    five: float | None = None
    hour: float | None = None

    def over(self, window_s: float) -> float | None:
        """Give the rate over the smallest window of at least `window_s` seconds."""
        if window_s <= WINDOWS_S[0]:
            return self.minute
        return self.five if window_s <= WINDOWS_S[1] else self.hour


class NodeFact(msgspec.Struct, frozen=True, kw_only=True):
    """A node and its last heartbeat. tokens_per_s: measured between heartbeats.

    heard_at: when that came, by the watcher's clock; lost_at: since when the node is gone, None
    while it lives; both in seconds since the epoch. how: why it is gone, where somebody said so.
    """

    node: Node
    heard_at: float
    tokens_per_s: Rates = Rates()
    lost_at: float | None = None
    how: str = ""


class TenantQueue(msgspec.Struct, frozen=True, kw_only=True):
    """One tenant's part of a queue. waiting: never delivered yet; stored: all without an end.

    oldest_at: when its oldest job without an end was stored, seconds since the epoch.
    jobs_per_s: that were finished. dead: its dead letters.
    """

    tenant: str
    stored: Count
    waiting: Count | None = None
    oldest_at: float | None = None
    jobs_per_s: Rates = Rates()
    dead: Count | None = None


class QueueFact(msgspec.Struct, frozen=True, kw_only=True):
    """The durable of one tier and model; `exists` is False where jobs wait for one that is missing.

    redelivered: jobs that are out for at least the second time. stuck: stored, and neither waiting
    nor out. paused_s: for how long an operator's pause still lasts. tenants: by name.
    """

    tier: Tier
    model: str
    exists: bool = True
    waiting: Count | None = None
    in_flight: Count | None = None
    redelivered: Count | None = None
    stuck: Count | None = None
    paused_s: float = 0.0
    tenants: tuple[TenantQueue, ...] = ()


class JobFact(msgspec.Struct, frozen=True, kw_only=True):
    """A job without an end. queued_at, checkpoint_at, deadline: seconds since the epoch.

    sequence: its place in the stream of its tier. items: None for a job that cannot be read.
    items_done, tokens_saved: as of its checkpoint. moved_at: when these were last seen to change,
    or the job to be out; a checkpoint alone says that its node lives, for one is written of an
    engine that hangs, too. node: who has it, or had it last. isolated: its items run one at a time,
    for it is suspected of killing engines. error: the last that was heard of it.
    """

    tier: Tier
    model: str
    tenant: str
    job: str
    sequence: Count
    queued_at: float
    state: JobState
    batch: str | None = None
    items: Count | None = None
    items_done: Count | None = None
    tokens_saved: Count = 0
    node: str | None = None
    attempts: Count = 0
    interruptions: Count = 0
    isolated: bool = False
    checkpoint_at: float | None = None
    moved_at: float | None = None
    deadline: float | None = None
    error: str = ""


class BatchFact(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that was asked for. done: items with a line, good or bad; failed: of those, bad ones.

    created_at, deadline: seconds since the epoch. at_risk: why its deadline will not be met, ""
    where nobody says so.
    """

    tenant: str
    batch: str
    model: str
    tier: Tier
    state: BatchState
    created_at: float
    jobs: Count
    items: Count
    submitted_jobs: Count
    deadline: float | None = None
    done: Count | None = None
    failed: Count | None = None
    items_per_s: Rates = Rates()
    interruptions: Count = 0
    at_risk: str = ""


class PoolFact(msgspec.Struct, frozen=True, kw_only=True):
    """What the manager of a model's pool decided last. spot, fallback, realtime: nodes wanted.

    reasons, troubles: in words and numbers. at: seconds since the epoch.
    """

    model: str
    at: float
    by: str
    spot: Count
    fallback: Count
    realtime: Count
    batch_fallback: bool
    paused: bool = False
    reasons: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()
    at_risk: tuple[str, ...] = ()


class Spend(msgspec.Struct, frozen=True, array_like=True):
    """What the machines cost an hour at a moment; None where a price is missing."""

    at: float
    usd_per_hour: float | None
    nodes: Count


class CostFact(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger of today (UTC) and of the last hour. rows are by pool in `today` and `hour`.

    ends_today, ends_hour: how many interruptions there were, of which the reports hold the newest.

    since: from when on events were read, where that is later than midnight; seconds since the
    epoch. spend: the last hour, oldest first. tenants, batches: of today. doubts: which prices are
    missing or old, in words.
    """

    today: Report
    hour: Report
    since: float | None = None
    ends_today: Count = 0
    ends_hour: Count = 0
    spend: tuple[Spend, ...] = ()
    tenants: tuple[Row, ...] = ()
    batches: tuple[Row, ...] = ()
    doubts: tuple[str, ...] = ()


class EventFact(msgspec.Struct, frozen=True):
    """An event and its place in EVENTS."""

    sequence: Count
    event: AnyEvent


class Moment(msgspec.Struct, frozen=True, array_like=True):
    """The whole fleet in a few numbers, for sparklines. None: not known at that moment."""

    at: float
    nodes: Count | None = None
    items: Count | None = None
    waiting: Count | None = None
    in_flight: Count | None = None
    tokens_per_s: float | None = None
    usd_per_hour: float | None = None


class History(msgspec.Struct, frozen=True):
    """Moments of the past, oldest first: by the second, by five seconds, by the minute."""

    minute: tuple[Moment, ...] = ()
    five: tuple[Moment, ...] = ()
    hour: tuple[Moment, ...] = ()

    def over(self, window_s: float) -> tuple[Moment, ...]:
        """Give those of the smallest window of at least `window_s` seconds; at most 60."""
        if window_s <= WINDOWS_S[0]:
            return self.minute
        return self.five if window_s <= WINDOWS_S[1] else self.hour


class FleetSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known at `at`, in seconds since the epoch.

    source: where it comes from, in words. connected: whether the broker answers. read_at: when each
    part was read last; a part that is missing never was. troubles: what could not be read, in
    words, by part. jobs: the oldest of each tier; jobs_in_all: how many there are; dead_in_all: how
    many dead letters; oldest_at: when the oldest job of each tier was stored. events: the newest,
    oldest first.
    """

    at: float
    source: str = ""
    connected: bool = True
    read_at: dict[Part, float] = {}
    troubles: dict[Part, str] = {}
    nodes: tuple[NodeFact, ...] = ()
    queues: tuple[QueueFact, ...] = ()
    jobs: tuple[JobFact, ...] = ()
    jobs_in_all: Count | None = None
    dead_in_all: Count | None = None
    oldest_at: dict[Tier, float] = {}
    batches: tuple[BatchFact, ...] = ()
    pools: tuple[PoolFact, ...] = ()
    costs: CostFact | None = None
    events: tuple[EventFact, ...] = ()
    history: History = History()


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to a job. at: seconds since the epoch; None where nobody noted it."""

    at: float | None
    what: str
    node: str = ""
    bad: bool = False


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """A job's life, as far as it can still be read.

    why: where it stands and what it waits for, in words. items_done of items have a line.
    steps: deliveries, interruptions and retries, oldest first. errors: what its items, or the job,
    failed with.
    """

    tenant: str
    job: str
    batch: str | None
    why: tuple[str, ...]
    items: Count | None = None
    items_done: Count | None = None
    steps: tuple[Step, ...] = ()
    errors: tuple[str, ...] = ()
