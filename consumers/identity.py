"""Who this consumer is; what it says of itself in heartbeats, results and events."""

import os
import socket
import time

import msgspec

from fleet.job import CapacityType
from fleet.settings import Settings


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
    since: float
    instance_type: str = ""
    price_usd_per_hour: float | None = None


def identity(
    *, node: str, capacity_type: CapacityType, model: str, engine: str, settings: Settings
) -> Identity:
    """Say who this process is."""
    started_at = time.time()
    return Identity(
        node=node,
        capacity_type=capacity_type,
        zone=settings.zone,
        model=model,
        engine=engine,
        pid=os.getpid(),
        host=socket.gethostname(),
        started_at=started_at,
        since=started_at if settings.launched_at is None else settings.launched_at,
        instance_type=settings.instance_type,
        price_usd_per_hour=settings.price_usd_per_hour,
    )
