"""What can happen in a fleet. Code says it once; sinks (log, EVENTS stream, metrics) decide."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from fleet.bounds import Count, Seconds, Usd
from fleet.job import CapacityType, Tier

PoolAction: TypeAlias = Literal["launched", "refused", "drained", "ended", "reaped", "unheard"]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """The base of all events. at: seconds since the epoch. No prompt and no output in any."""

    at: float
    node: str


class Billed(Event, frozen=True, kw_only=True):
    """An event that says what a node costs, and since when.

    since: seconds since the epoch; from then on its machine costs money, None for since `at`.
    price_usd_per_hour: None where nobody told the node.
    """

    capacity_type: CapacityType
    zone: str
    model: str
    host: str = ""
    instance_type: str = ""
    since: float | None = None
    price_usd_per_hour: Usd | None = None


class NodeLaunched(Billed, frozen=True, kw_only=True, tag="node_launched"):
    """A provider granted a machine: it costs money, whether or not its consumer says a word.

    node: as its consumer will call itself, alone or with `-` and more behind it.
    """


class NodeStarted(Billed, frozen=True, kw_only=True, tag="node_started"):
    """A consumer process began; its engine is not up yet."""

    engine: str
    pid: Count


class NodeMetered(Billed, frozen=True, kw_only=True, tag="node_metered"):
    """What a node did with its time: totals since its start, so that one that is missed is no harm.

    It is a sign of life, too, told now and then by a node that has nothing to do. state, items: as
    of now. busy_s: in which any item ran. stall_s: in which none ran, for results or checkpoints
    were being written. tokens_generated: by its engine, items that end elsewhere included.
    """

    state: Literal["loading", "ready", "draining", "drained"]
    items: Count
    busy_s: Seconds
    stall_s: Seconds
    tokens_generated: Count


class NodeReady(Event, frozen=True, kw_only=True, tag="node_ready"):
    """The engine is up and the first pull is out."""

    load_s: Seconds


class NodeDraining(Event, frozen=True, kw_only=True, tag="node_draining"):
    """A notice came: no more pulls. left_s: seconds until the node is expected to vanish.

    items_to_finish, items_to_save: how the items in hand are expected to end, by their own rates.
    """

    cause: str
    left_s: Seconds | None
    jobs: Count
    items_to_finish: Count = 0
    items_to_save: Count = 0


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
    tokens_generated: Count = 0


class NodeGone(Event, frozen=True, kw_only=True, tag="node_gone"):
    """The machine is no more, says who watches over it: from here on it costs nothing."""

    cause: str


class JobTakenOver(Event, frozen=True, kw_only=True, tag="job_taken_over"):
    """A job that another consumer began goes on here."""

    tenant: str
    job: str
    model: str
    tier: Tier
    from_node: str | None
    released: bool
    items_done: Count
    tokens_saved: Count


class JobReleased(Event, frozen=True, kw_only=True, tag="job_released"):
    """A draining consumer gave a job back, with its progress saved."""

    tenant: str
    job: str
    model: str
    tier: Tier
    items_done: Count
    tokens_saved: Count


class JobRetried(Event, frozen=True, kw_only=True, tag="job_retried"):
    """A job failed by its own fault and will be tried again after `delay_s` seconds."""

    tenant: str
    job: str
    attempts: Count
    code: str
    reason: str
    delay_s: Seconds


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

    engine_s: the time of the whole engine that made what is safe by now: items that are in the
    result log, and tokens that a checkpoint keeps. The records of a node sum to no more than the
    time in which it was busy; what is missing then is lost.
    """

    tenant: str
    model: str
    tier: Tier
    batch: str | None
    jobs: Count
    items: Count
    failed_items: Count
    prompt_tokens: Count
    completion_tokens: Count
    engine_s: Seconds = 0.0


class PoolDecided(Event, frozen=True, kw_only=True, tag="pool_decided"):
    """The pool manager decided otherwise than before. node: the manager.

    spot, fallback, realtime: nodes that are wanted. batch_fallback: whether on-demand nodes may
    take batch jobs. reasons: in words and numbers. at_risk: batches whose deadline will not be met.
    """

    model: str
    spot: Count
    fallback: Count
    realtime: Count
    batch_fallback: bool
    reasons: tuple[str, ...]
    at_risk: tuple[str, ...] = ()


class PoolActed(Event, frozen=True, kw_only=True, tag="pool_acted"):
    """The pool manager did something to machines, or could not. node: the manager.

    refused, unheard: nothing came of it. reaped: ended, for nobody had heard of them for too long.
    machines: their ids; nothing for a refusal. why: in words and numbers.
    """

    model: str
    action: PoolAction
    capacity_type: CapacityType | None
    zone: str
    machines: tuple[str, ...]
    why: str


class OperatorActed(Event, frozen=True, kw_only=True, tag="operator_acted"):
    """An operator acted, by a command or from the dashboard; told as it begins, and as it ends.

    node: the one that it was about, "" where it was about none. by: user and machine. target: what
    it was about, in words. result: what came of it, "" as it begins.
    """

    by: str
    deed: str
    target: str
    outcome: Literal["begun", "done", "failed"]
    result: str = ""


AnyEvent: TypeAlias = (
    NodeLaunched
    | NodeStarted
    | NodeMetered
    | NodeReady
    | NodeDraining
    | NodeHinted
    | NodeResumed
    | EngineLost
    | NodeStopped
    | NodeGone
    | JobTakenOver
    | JobReleased
    | JobRetried
    | JobLost
    | JobDead
    | UsageRecorded
    | PoolDecided
    | PoolActed
    | OperatorActed
)
Emit: TypeAlias = Callable[[AnyEvent], None]
