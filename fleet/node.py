"""What a node says of itself with every heartbeat."""

from typing import Literal

import msgspec

from fleet.bounds import Count, Usd
from fleet.job import CapacityType

# drained: it holds nothing, and waits for its end or for being called back.
NodeState = Literal["loading", "ready", "draining", "drained"]


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A heartbeat. The key expires when beats stop, so a node that is listed is alive.

    started_at, at: seconds since the epoch. tokens_generated, items_done: totals since its start.
    price_usd_per_hour: None where nobody said it. notice: who gave it notice, "" where nobody did.
    leaves_at: when it is expected to vanish, seconds since the epoch. instance_type: of its
    machine. kv_cache: share of 0 to 1 of the engine's memory for tokens that is in use; None where
    the engine does not tell.
    """

    node: str
    pid: Count
    host: str
    capacity_type: CapacityType
    zone: str
    model: str
    engine: str
    state: NodeState
    started_at: float
    at: float
    jobs: Count = 0
    items: Count = 0
    slots: Count = 0
    tokens_generated: Count = 0
    items_done: Count = 0
    price_usd_per_hour: Usd | None = None
    notice: str = ""
    leaves_at: float | None = None
    instance_type: str = ""
    kv_cache: float | None = None
