"""What can happen in a fleet. Code says it once; sinks (log, EVENTS stream, metrics) decide."""

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from fleet.job import CapacityType, Tier


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """The base of all events. at: seconds since the epoch. No prompt and no output in any."""

    at: float
    node: str


class NodeStarted(Event, frozen=True, kw_only=True, tag="node_started"):
    """A consumer process began; its engine is not up yet. From here on it costs money."""

    capacity_type: CapacityType
    zone: str
    model: str
    engine: str
    pid: int


class NodeReady(Event, frozen=True, kw_only=True, tag="node_ready"):
    """The engine is up and the first pull is out."""

    load_s: float


class NodeDraining(Event, frozen=True, kw_only=True, tag="node_draining"):
    """A notice came: no more pulls. left_s: seconds until the node is expected to vanish.

    items_to_finish, items_to_save: how the items in hand are expected to end, by their own rates.
    """

    cause: str
    left_s: float | None
    jobs: int
    items_to_finish: int = 0
    items_to_save: int = 0


class NodeHinted(Event, frozen=True, kw_only=True, tag="node_hinted"):
    """A cloud says that the node may go soon: it takes no more batch jobs and drains nothing."""

    source: str


class NodeResumed(Event, frozen=True, kw_only=True, tag="node_resumed"):
    """A notice was called off: the node works on."""

    source: str


class EngineLost(Event, frozen=True, kw_only=True, tag="engine_lost"):
    """The engine died or hung, and its jobs were handed over.

    restarts: whether the process starts another one; else it ends with an error.
    """

    reason: str
    restarts: bool


class NodeStopped(Event, frozen=True, kw_only=True, tag="node_stopped"):
    """The consumer ended in an orderly way. tokens_generated: by its engine, since its start."""

    cause: str
    tokens_generated: int = 0


class JobTakenOver(Event, frozen=True, kw_only=True, tag="job_taken_over"):
    """A job that another consumer began goes on here."""

    tenant: str
    job: str
    model: str
    tier: Tier
    from_node: str | None
    released: bool
    items_done: int
    tokens_saved: int


class JobReleased(Event, frozen=True, kw_only=True, tag="job_released"):
    """A draining consumer gave a job back, with its progress saved."""

    tenant: str
    job: str
    model: str
    tier: Tier
    items_done: int
    tokens_saved: int


class JobRetried(Event, frozen=True, kw_only=True, tag="job_retried"):
    """A job failed by its own fault and will be tried again after `delay_s` seconds."""

    tenant: str
    job: str
    attempts: int
    code: str
    reason: str
    delay_s: float


class JobLost(Event, frozen=True, kw_only=True, tag="job_lost"):
    """A guarded write was refused, so this consumer dropped the job: another one has it."""

    tenant: str
    job: str
    reason: str


class JobDead(Event, frozen=True, kw_only=True, tag="job_dead"):
    """A job was given up and lies in DEAD."""

    tenant: str
    job: str
    code: str
    reason: str


class UsageRecorded(Event, frozen=True, kw_only=True, tag="usage_recorded"):
    """What a node finished since its last record, for one tenant, tier and batch.

    generated_tokens counts what the engine made, also for items that end elsewhere.
    """

    tenant: str
    model: str
    tier: Tier
    batch: str | None
    jobs: int
    items: int
    failed_items: int
    prompt_tokens: int
    completion_tokens: int


AnyEvent: TypeAlias = (
    NodeStarted
    | NodeReady
    | NodeDraining
    | NodeHinted
    | NodeResumed
    | EngineLost
    | NodeStopped
    | JobTakenOver
    | JobReleased
    | JobRetried
    | JobLost
    | JobDead
    | UsageRecorded
)
Emit: TypeAlias = Callable[[AnyEvent], None]
