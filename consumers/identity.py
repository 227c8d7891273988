"""Who this consumer is; what it says of itself in heartbeats, results and events."""

import msgspec

from fleet.job import CapacityType


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """One consumer process.

    node: unique for the process, not only for the machine, so that a restarted consumer is never
    taken for the owner of what its predecessor held. price_usd_per_hour: None where nobody said it.
    since: when its machine began to cost money, or this process, where nobody said it.
    """

    node: str
    capacity_type: CapacityType
    zone: str
    model: str
    engine: str
    pid: int
    host: str
    started_at: float
    since: float | None = None
    instance_type: str = ""
    price_usd_per_hour: float | None = None
