"""A fleet as its exporter saw it: what is counted of queues, nodes, pools and money. Pure.

None is what could not be read, or was not asked: it is left out of a scrape, never told as 0.
"""

import msgspec

from fleet.job import CapacityType, Tier
from fleet.ledger import Part
from fleet.node import NodeState


class QueueSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One durable. exists: False where jobs may wait for one that is missing."""

    tier: Tier
    model: str
    exists: bool
    waiting: int
    delivered: int
    stuck: int
    deliveries: int
    pulls: int
    paused_s: float


class StreamSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream holds. limit_bytes: None for none."""

    name: str
    messages: int
    size_bytes: int
    limit_bytes: int | None


class NodesSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Living nodes of one kind. unpriced: those whose price nobody knows."""

    capacity_type: CapacityType
    model: str
    zone: str
    state: NodeState
    nodes: int
    slots: int
    items: int
    usd_per_hour: float
    unpriced: int


class PoolSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A pool as its manager told last.

    decided_at: seconds since the epoch. spot, fallback, realtime: nodes wanted. priced_at: since
    when each zone's spot price is known to hold, where it is dated. budget_usd_per_hour: None for
    no limit.
    """

    model: str
    decided_at: float
    spot: int
    fallback: int
    realtime: int
    held_spot: int
    held_on_demand: int
    machines: int
    open_batches: int
    at_risk: int
    batch_fallback: bool
    carries_out: bool
    troubles: int
    budget_usd_per_hour: float | None
    priced_at: tuple[tuple[str, float], ...] = ()


class CostSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What the window cost. usd: by capacity type, model and what it went for."""

    window_s: float
    usd: tuple[tuple[CapacityType, str, Part, float], ...]
    unpriced_hours: float
    output_tokens: int
    saved_usd: float | None


class Monitored(msgspec.Struct, frozen=True, kw_only=True):
    """What one server's monitor tells. stored_bytes: in its store, of the limit that it was set."""

    sync_always: bool
    stored_bytes: int
    limit_bytes: int


class BrokerSeen(msgspec.Struct, frozen=True, kw_only=True):
    """How safe what the broker confirms is. monitored: None where no monitor was asked.

    drift: settings that differ from what they should be. replicas: servers that keep each result.
    """

    monitored: Monitored | None
    replicas: int | None
    drift: int | None


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """One look. at: by time.monotonic(). unread: the parts that could not be read.

    tenants: unfinished jobs by tier and tenant; dead: dead letters by tier.
    """

    at: float
    took_s: float
    queues: tuple[QueueSeen, ...] | None = None
    streams: tuple[StreamSeen, ...] | None = None
    tenants: dict[tuple[str, str], int] | None = None
    dead: dict[str, int] | None = None
    nodes: tuple[NodesSeen, ...] | None = None
    pools: tuple[PoolSeen, ...] | None = None
    broker: BrokerSeen | None = None
    cost: CostSeen | None = None
    unread: tuple[str, ...] = ()
